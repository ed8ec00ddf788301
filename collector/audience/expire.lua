-- Remove visitors unseen since a second, and free their ordinals.
-- KEYS: state. ARGV: tenant, salt, unseen since (Unix seconds), ordinals…
-- Returns how many went. A visitor seen meanwhile stays.
local t = open(ARGV[1])
local gone = 0
local all = leaves(t)
for i = 4, #ARGV do
  local ordinal = tonumber(ARGV[i])
  local at = (ordinal % CHUNK) * 4
  local seen = redis.call('GETRANGE', column(t, 'seen', 0, math.floor(ordinal / CHUNK)), at, at + 3)
  local visitor = holder(t, ordinal)
  if visitor and #seen == 4 and struct.unpack('<I4', seen) < tonumber(ARGV[3]) then
    for _, leaf in ipairs(all) do clear(t, leaf[1], leaf[2], ordinal, 4294967295) end
    clear(t, 'seen', 1, ordinal, 4294967295)
    remove(t, hash_of(ARGV[2], visitor), visitor, ordinal)
    gone = gone + 1
  end
end
if gone > 0 then
  save(t)
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
end
return gone
