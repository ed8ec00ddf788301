-- A tag's past in a partition at one moment: the files in force, the marks, and where the stream takes over.
-- KEYS: state. ARGV: prefix of the partition, tag. Returns {archived, erasures, newest id, files, bars, tombstones,
-- erasing}: bars and tombstones as mark, second, …; erasing: the marks whose rows may still lie in files.
local tenant = ARGV[1] .. ':' .. ARGV[2]
local state = redis.call('HMGET', KEYS[1], 'archived', 'erasures')
local newest = '0-0'
local last = redis.call('XREVRANGE', ARGV[1] .. ':events', '+', '-', 'COUNT', 1)
if last[1] then newest = last[1][1] end
return {
  state[1] or '0-0', of_lineage(state[2]), newest,
  redis.call('HVALS', tenant .. ':manifest'),
  redis.call('HGETALL', tenant .. ':bars'),
  redis.call('HGETALL', tenant .. ':tombs'),
  redis.call('SMEMBERS', tenant .. ':erasing'),
}
