-- Write a trimmed stream anew, because a node keeps the bytes of what was deleted from it until the whole node goes.
-- KEYS: events. ARGV: the id up to which nothing may be left, most entries to write.
-- Returns 1 when it is done, 0 when it has to wait for a trim.
if #redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', 1) > 0 then return 0 end
if redis.call('XLEN', KEYS[1]) > tonumber(ARGV[2]) then return 0 end
local entries = redis.call('XRANGE', KEYS[1], '-', '+')
if #entries == 0 then return 1 end -- no entry, no node
redis.call('DEL', KEYS[1])
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[1], entry[1], unpack(entry[2])) end
return 1
