-- What a partition has that cannot be remade, at one moment.
-- KEYS: state. ARGV: prefix of the partition.
-- Returns {archived, epoch, erasures, newest id, imports, dead, pending,
--          [tag, [leaf, fields]…, bars, tombs, erasing, files]…}.
local state = redis.call('HMGET', KEYS[1], 'archived', 'epoch', 'erasures')
local newest = newest_of(ARGV[1] .. ':events')
local tags = {}
for _, tag in ipairs(redis.call('SMEMBERS', ARGV[1] .. ':tags')) do
  local tenant = ARGV[1] .. ':' .. tag
  local leaves = {}
  for _, leaf in ipairs(redis.call('SMEMBERS', tenant .. ':leaves')) do
    leaves[#leaves + 1] = {leaf, redis.call('HGETALL', tenant .. ':leaf:' .. leaf)}
  end
  tags[#tags + 1] = {
    tag, leaves,
    redis.call('HGETALL', tenant .. ':bars'),
    redis.call('HGETALL', tenant .. ':tombs'),
    redis.call('SMEMBERS', tenant .. ':erasing'),
    redis.call('HVALS', tenant .. ':manifest'),
  }
end
return {
  state[1] or '0-0', tonumber(state[2]) or 0, tonumber(state[3]) or 0, newest,
  redis.call('HGETALL', ARGV[1] .. ':imports'),
  redis.call('HGETALL', ARGV[1] .. ':dead'),
  redis.call('HGETALL', ARGV[1] .. ':pending'),
  tags,
}
