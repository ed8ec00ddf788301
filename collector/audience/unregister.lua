-- Remove a leaf that no audience has used since `before`, with its columns.
-- KEYS: state. ARGV: tenant, leaf, before (Unix seconds). Returns 1 when it went.
local t = open(ARGV[1])
local key = t.tenant .. ':leaf:' .. ARGV[2]
local leaf = redis.call('HMGET', key, 'touched', 'count')
if not leaf[1] or tonumber(leaf[1]) >= tonumber(ARGV[3]) then return 0 end
for chunk = 0, math.floor(t.next / CHUNK) do
  for plane = 0, tonumber(leaf[2]) - 1 do redis.call('UNLINK', column(t, ARGV[2], plane, chunk)) end
end
redis.call('SREM', t.tenant .. ':leaves', ARGV[2])
redis.call('DEL', key, t.tenant .. ':ver:' .. ARGV[2])
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return 1
