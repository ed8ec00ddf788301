-- Append events to their partitions' streams, each unless its event id is remembered: test, set and append are one.
-- KEYS: the events streams touched.
-- ARGV: seconds an id is remembered, import ledger field ('' for live events), then of all events (msgpack) their indices
--       into KEYS, id hashes ('' : no test), bytes of their payloads, and for imports the line numbers; then all payloads
--       in one. A server reads that in a few pieces; an argument an event it would read in many, others' calls between.
-- Returns a digit an event: 1 appended, 0 duplicate, 2 appended by an earlier run of the same import.

-- A bucket holds 192 ids on average, at most about 2 × 192 before its split: below the 512 that end an intset.
local LOAD = 192

local window = tonumber(ARGV[1])
local ledger = ARGV[2]
local places, marks, lengths, numbers = unpack(cmsgpack.unpack(ARGV[3]))
local generation = math.floor(tonumber(redis.call('TIME')[1]) / window)

-- As many as grow() has made by the time that there are `count` ids: a bucket more whenever all are full and one
-- id more comes.
local function buckets_of(count) return math.max(math.ceil(count / LOAD), 1) end

local function open(stream)
  local base = string.sub(stream, 1, -7) -- drop 'events'
  local counts = redis.call('HMGET', base .. 'ids', generation, generation - 1)
  local count = tonumber(counts[1]) or 0
  local previous = tonumber(counts[2]) or 0
  local lines = 0
  if ledger ~= '' then lines = tonumber(redis.call('HGET', base .. 'imports', ledger)) or 0 end
  return {
    stream = stream, base = base, count = count, before = count, lines = lines, line = lines,
    buckets = buckets_of(count),
    previous = previous > 0 and buckets_of(previous) or 0,
    current_key = base .. 'ids:' .. generation .. ':',
    previous_key = base .. 'ids:' .. (generation - 1) .. ':',
  }
end

-- Lua numbers hold 53 bits: the division makes the hash an exact integer again, the same one every time.
local function hash_of(id) return math.floor(tonumber(id) / 4096) end

local function grow(p)
  local source, modulus = split_of(p.buckets)
  local moved = {}
  for _, id in ipairs(redis.call('SMEMBERS', p.current_key .. source)) do
    if hash_of(id) % modulus == p.buckets then moved[#moved + 1] = id end
  end
  if #moved > 0 then
    redis.call('SREM', p.current_key .. source, unpack(moved))
    redis.call('SADD', p.current_key .. p.buckets, unpack(moved))
    redis.call('EXPIRE', p.current_key .. p.buckets, window * 2 + 60)
  end
  p.buckets = p.buckets + 1
end

local function seen(p, id)
  local h = hash_of(id)
  if p.previous > 0 and redis.call('SISMEMBER', p.previous_key .. bucket_of(h, p.previous), id) == 1 then
    return true
  end
  if redis.call('SADD', p.current_key .. bucket_of(h, p.buckets), id) == 0 then return true end
  p.count = p.count + 1
  if p.count == 1 then redis.call('EXPIRE', p.current_key .. '0', window * 2 + 60) end
  if p.count > LOAD * p.buckets then grow(p) end
  return false
end

local partitions, results = {}, {}
local at = 1
for i, k in ipairs(places) do
  local p = partitions[k]
  if not p then
    p = open(KEYS[k])
    partitions[k] = p
  end
  local result = '1'
  if ledger ~= '' and numbers[i] <= p.lines then
    result = '2'
  elseif marks[i] ~= '' and seen(p, marks[i]) then
    result = '0'
  else
    redis.call('XADD', p.stream, '*', 'e', string.sub(ARGV[4], at, at + lengths[i] - 1))
  end
  if ledger ~= '' and result ~= '2' then p.line = numbers[i] end
  at = at + lengths[i]
  results[i] = result
end

for _, p in pairs(partitions) do
  if p.count > p.before then
    redis.call('HSET', p.base .. 'ids', generation, p.count)
    if p.before == 0 then redis.call('HDEL', p.base .. 'ids', generation - 2, generation - 3) end
  end
  if p.line > p.lines then redis.call('HSET', p.base .. 'imports', ledger, p.line) end
end
return table.concat(results)
