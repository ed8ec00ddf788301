-- Put a record in the place of the one that it was made of, unless somebody else was first.
-- KEYS: the audiences. ARGV: id, the record that was read, the new one.
-- Returns 1, or 0 when another record is there, or none, and nothing was done.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
