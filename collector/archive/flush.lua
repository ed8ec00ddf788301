-- Put new files in force and move the archive cursor, if neither it nor the erasures have moved meanwhile, nor is
-- the server's lineage another.
-- KEYS: state. ARGV: prefix of the partition, archived, erasures, new archived, then tag, file name, JSON of each file.
local state = redis.call('HMGET', KEYS[1], 'archived', 'erasures')
if (state[1] or '0-0') ~= ARGV[2] or of_lineage(state[2]) ~= ARGV[3] then return 0 end
for i = 5, #ARGV, 3 do
  redis.call('SADD', ARGV[1] .. ':tags', ARGV[i])
  redis.call('HSET', ARGV[1] .. ':' .. ARGV[i] .. ':manifest', ARGV[i + 1], ARGV[i + 2])
end
redis.call('HSET', KEYS[1], 'archived', ARGV[4])
return 1
