-- A try is heard when the delay after the last one is over. One call, so that many at once are not all heard.
-- KEYS: the login's count. ARGV: now, seconds to remember it, the delay after 0, 1, 2 … failed tries.
local failed = tonumber(redis.call('HGET', KEYS[1], 'failed') or '0')
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
local wait = last + tonumber(ARGV[math.min(3 + failed, #ARGV)]) - tonumber(ARGV[1])
if wait > 0 then return wait end
redis.call('HSET', KEYS[1], 'failed', failed + 1, 'last', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 0
