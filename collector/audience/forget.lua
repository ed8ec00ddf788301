-- Bar or erase a visitor up to a second T: nothing up to T counts from here on.
-- KEYS: state. ARGV: prefix of the partition, tag, 'bar' or 'tombstone', T, mark, hash, visitor, its text as JSON has it.
-- Returns {epoch before, epoch after}.
local t = open(ARGV[1] .. ':' .. ARGV[2])
local until_ = tonumber(ARGV[4])
local epoch = of_lineage(redis.call('HGET', KEYS[1], 'epoch'))
local marks = t.tenant .. (ARGV[3] == 'bar' and ':bars' or ':tombs')
if until_ <= (tonumber(redis.call('HGET', marks, ARGV[5])) or -1) then return {epoch, epoch} end
redis.call('HSET', marks, ARGV[5], until_)
redis.call('SADD', ARGV[1] .. ':tags', ARGV[2])
local ordinal = lookup(t, tonumber(ARGV[6]), ARGV[7])
if ordinal then
  for _, leaf in ipairs(leaves(t)) do clear(t, leaf[1], leaf[2], ordinal, until_) end
end
if ARGV[3] == 'tombstone' then
  -- The visitor's dead letters go: those under the mark, and unreadable ones in which the id stands.
  local dead = ARGV[1] .. ':dead'
  for _, field in ipairs(redis.call('HKEYS', dead)) do
    local mark = string.match(field, '^%d+')
    if mark == ARGV[5] or (mark == '0' and string.find(redis.call('HGET', dead, field), ARGV[8], 1, true)) then
      redis.call('HDEL', dead, field)
    end
  end
  redis.call('HINCRBY', KEYS[1], 'erasures', 1)
  redis.call('SADD', t.tenant .. ':erasing', ARGV[5])
  -- What the stream still holds of the visitor goes when it is archived, without those rows, and trimmed: at once.
  local last = redis.call('XREVRANGE', ARGV[1] .. ':events', '+', '-', 'COUNT', 1)
  if last[1] then redis.call('HSET', KEYS[1], 'flush_to', last[1][1]) end
  redis.call('HSET', ARGV[1] .. ':pending', ARGV[2] .. ':' .. ARGV[5], until_ .. ' ' .. (last[1] and last[1][1] or '0-0'))
  if ordinal then
    clear(t, 'seen', 1, ordinal, until_)
    local at = (ordinal % CHUNK) * 4
    local seen = redis.call('GETRANGE', column(t, 'seen', 0, math.floor(ordinal / CHUNK)), at, at + 3)
    -- An event after T was applied already: the visitor stays, with that alone.
    if #seen < 4 or seen == '\0\0\0\0' then
      remove(t, tonumber(ARGV[6]), ARGV[7], ordinal)
      save(t)
    end
  end
end
return {epoch, of_lineage(redis.call('HINCRBY', KEYS[1], 'epoch', 1))}
