-- Everything that a worker believes about a partition, read in one moment.
-- KEYS: state. ARGV: prefix of the partition, most free ordinals to tell.
-- Returns {cursor, epoch, archived, [tag, next, free ordinals, [leaf, condition]…]…}.
local state = redis.call('HMGET', KEYS[1], 'cursor', 'epoch', 'archived')
local tags = {}
for _, tag in ipairs(redis.call('SMEMBERS', ARGV[1] .. ':tags')) do
  local t = open(ARGV[1] .. ':' .. tag)
  local found = {}
  for _, leaf in ipairs(leaves(t)) do
    found[#found + 1] = {leaf[1], redis.call('HGET', t.tenant .. ':leaf:' .. leaf[1], 'condition')}
  end
  tags[#tags + 1] = {
    tag, t.next,
    redis.call('LRANGE', t.tenant .. ':free', 0, tonumber(ARGV[2]) - 1),
    found,
  }
end
return {state[1] or '0-0', of_lineage(state[2]), state[3] or '0-0', tags}
