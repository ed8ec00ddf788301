-- Apply a batch: merge its effects and move the cursor, if the partition still is what the worker believes.
-- KEYS: state. ARGV: prefix of the partition, cursor, epoch, new cursor, effects (msgpack), then the byte strings
-- that msgpack cannot bring here: each new visitor's key, each dead letter, in order.
-- effects: {tags: [tag, taken free ordinals, next, [hash, ordinal]… flat, [leaf, count, chunk, offsets, times]…]…,
--           dead: the field of each dead letter}
-- Returns 1, or 0 when cursor or epoch have moved, or the server's lineage is another, and nothing was done.
local state = redis.call('HMGET', KEYS[1], 'cursor', 'epoch')
if (state[1] or '0-0') ~= ARGV[2] or of_lineage(state[2]) ~= ARGV[3] then return 0 end
local effects = cmsgpack.unpack(ARGV[5])
local at = 5
local function following()
  at = at + 1
  return ARGV[at]
end
return whole(function()
  for _, effect in ipairs(effects.tags) do
    local tag, taken, next_ordinal, new, merges = unpack(effect)
    local t = open(ARGV[1] .. ':' .. tag)
    redis.call('SADD', ARGV[1] .. ':tags', tag)
    if taken > 0 then redis.call('LPOP', t.tenant .. ':free', taken) end
    t.next = next_ordinal
    for i = 1, #new, 2 do insert(t, new[i], following(), new[i + 1]) end
    save(t)
    for _, m in ipairs(merges) do merge(t, m[1], m[2], m[3], m[4], m[5]) end
  end
  for _, field in ipairs(effects.dead) do redis.call('HSET', ARGV[1] .. ':dead', field, following()) end
  redis.call('HSET', KEYS[1], 'cursor', ARGV[4])
end)
