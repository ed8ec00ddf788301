-- Register a leaf, or ask more past of one that is there.
-- KEYS: state. ARGV: prefix of the partition, tag, leaf, condition, count, past wanted from (Unix seconds), now.
-- Returns {live_from, newest id of the stream}.
local tenant = ARGV[1] .. ':' .. ARGV[2]
local key = tenant .. ':leaf:' .. ARGV[3]
local cursor = redis.call('HGET', KEYS[1], 'cursor') or '0-0'
redis.call('SADD', ARGV[1] .. ':tags', ARGV[2])
if redis.call('SADD', tenant .. ':leaves', ARGV[3]) == 1 then
  -- covered_from: past matches from this second on are in the column; none yet, so a second that never comes.
  redis.call('HSET', key, 'condition', ARGV[4], 'count', ARGV[5], 'live_from', cursor,
    'covered_from', 4294967295, 'wanted_from', ARGV[6])
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
elseif tonumber(ARGV[6]) < tonumber(redis.call('HGET', key, 'wanted_from')) then
  redis.call('HSET', key, 'wanted_from', ARGV[6])
end
redis.call('HSET', key, 'touched', ARGV[7])
local newest = newest_of(ARGV[1] .. ':events')
local leaf = redis.call('HMGET', key, 'live_from', 'covered_from', 'wanted_from')
if tonumber(leaf[2]) > tonumber(leaf[3]) then
  redis.call('SADD', ARGV[1] .. ':wanting', ARGV[2])
  -- The past can be read once the archive has it: ask for a flush.
  redis.call('HSET', KEYS[1], 'flush_to', newest)
end
return {leaf[1], newest}
