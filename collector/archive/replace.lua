-- Replace files by one or none, if all are in force, and neither an erasure nor another lineage came
-- meanwhile. The old ones become garbage.
-- KEYS: state. ARGV: prefix of the partition, tag, erasures, when to delete the old files (Unix seconds),
--       new file name or '', its JSON, then the marks whose rows are gone: count, marks…, then old file names.
local manifest = ARGV[1] .. ':' .. ARGV[2] .. ':manifest'
if of_lineage(redis.call('HGET', KEYS[1], 'erasures')) ~= ARGV[3] then return 0 end
local first = 8 + tonumber(ARGV[7])
for i = first, #ARGV do
  if redis.call('HEXISTS', manifest, ARGV[i]) == 0 then return 0 end
end
for i = first, #ARGV do
  redis.call('HDEL', manifest, ARGV[i])
  redis.call('ZADD', ARGV[1] .. ':garbage', ARGV[4], ARGV[2] .. '/' .. ARGV[i])
end
if ARGV[5] ~= '' then redis.call('HSET', manifest, ARGV[5], ARGV[6]) end
for i = 8, first - 1 do redis.call('SREM', ARGV[1] .. ':' .. ARGV[2] .. ':erasing', ARGV[i]) end
return 1
