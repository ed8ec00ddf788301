-- Append a dead letter's event to its stream again, and take the letter away: both or neither.
-- KEYS: dead, events. ARGV: the letter's field, payload. Returns 1, or 0 when the letter has gone.
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
-- The archive leaves out what has a letter: an entry that it has not passed yet would be there beside its repeat.
redis.call('XDEL', KEYS[2], string.match(ARGV[1], ':(.*)'))
redis.call('XADD', KEYS[2], '*', 'e', ARGV[2])
return 1
