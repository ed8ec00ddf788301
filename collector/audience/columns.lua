-- The dictionary and the columns of one tag in one partition. `tenant` is the prefix of its keys.

-- Visitors in a chunk: 64 fewer than 65,536, so that a full chunk and its string header fit a 256 KiB
-- allocation; a byte more and the allocator takes 320 KiB.
local CHUNK = 65472
-- A dictionary bucket holds 40 visitors on average: small enough for a listpack's linear search.
local LOAD = 40
-- A visitor's key: its kind and 16 bytes. Whoever has another length lies in a hash of TEXTS.
local WIDTH = 17
-- So many keys and the string's header fill 4 KiB.
local PAGE = 240
local TEXTS = 64
-- Arguments go over Lua's stack, which holds 8,000: four words an ordinal and a few beside them.
local STEP = 1500

local function open(tenant)
  local meta = redis.call('HMGET', tenant .. ':meta', 'visitors', 'next', 'buckets')
  return {
    tenant = tenant,
    visitors = tonumber(meta[1]) or 0,
    next = tonumber(meta[2]) or 0,
    buckets = tonumber(meta[3]) or 1,
  }
end

local function save(t)
  redis.call('HSET', t.tenant .. ':meta', 'visitors', t.visitors, 'next', t.next, 'buckets', t.buckets)
end

-- Where the key of an ordinal's visitor lies: the page, the place in it.
local function page_of(t, ordinal)
  local at = ordinal % PAGE
  return t.tenant .. ':ids:' .. (ordinal - at) / PAGE, at * WIDTH
end

local function texts_of(t, ordinal)
  local at = ordinal % TEXTS
  return t.tenant .. ':texts:' .. (ordinal - at) / TEXTS, at
end

-- The key of an ordinal's visitor; false where there is none.
local function holder(t, ordinal)
  local page, at = page_of(t, ordinal)
  local key = redis.call('GETRANGE', page, at, at + WIDTH - 1)
  if (string.byte(key) or 0) > 0 then return key end
  return redis.call('HGET', texts_of(t, ordinal))
end

-- A visitor's hash, 26 bits, as columns.py makes it. Half of them lie below zero: what a bucket leaves of them then is one
-- of the small integers of a listpack twice as soon.
local function hash_of(salt, visitor)
  return math.floor(tonumber(string.sub(redis.sha1hex(salt .. visitor), 1, 8), 16) / 64) - 33554432
end

-- A dictionary does not repeat the key: its bucket and its field tell the visitor's hash, its value the ordinals of all
-- that have this hash, nearly always one. The holder's key decides.
local function entry_of(t, hash)
  local bucket, modulus = bucket_of(hash, t.buckets)
  return t.tenant .. ':dict:' .. bucket, math.floor(hash / modulus)
end

local function lookup(t, hash, visitor)
  for ordinal in string.gmatch(redis.call('HGET', entry_of(t, hash)) or '', '%d+') do
    ordinal = tonumber(ordinal)
    if holder(t, ordinal) == visitor then return ordinal end
  end
end

local function grow(t)
  local from, to = t.tenant .. ':dict:' .. split_of(t.buckets), t.tenant .. ':dict:' .. t.buckets
  local entries = redis.call('HGETALL', from)
  local stay, move = {}, {}
  for i = 1, #entries, 2 do
    local rest = tonumber(entries[i])
    local side = rest % 2 == 1 and move or stay
    side[#side + 1] = math.floor(rest / 2)
    side[#side + 1] = entries[i + 1]
  end
  -- Written anew, not deleted from: a listpack keeps the room of what it lost.
  redis.call('DEL', from)
  if #stay > 0 then redis.call('HSET', from, unpack(stay)) end
  if #move > 0 then redis.call('HSET', to, unpack(move)) end
  t.buckets = t.buckets + 1
end

local function insert(t, hash, visitor, ordinal)
  if #visitor == WIDTH then
    local page, at = page_of(t, ordinal)
    -- Whole at once: growing in place would double it.
    if redis.call('STRLEN', page) == 0 then redis.call('SETRANGE', page, PAGE * WIDTH - 1, '\0') end
    redis.call('SETRANGE', page, at, visitor)
  else
    local texts, at = texts_of(t, ordinal)
    redis.call('HSET', texts, at, visitor)
  end
  local bucket, rest = entry_of(t, hash)
  if redis.call('HSETNX', bucket, rest, ordinal) == 0 then
    redis.call('HSET', bucket, rest, redis.call('HGET', bucket, rest) .. ' ' .. ordinal)
  end
  t.visitors = t.visitors + 1
  if t.visitors > LOAD * t.buckets then grow(t) end
end

local function remove(t, hash, visitor, ordinal)
  local bucket, rest = entry_of(t, hash)
  local others = {}
  for other in string.gmatch(redis.call('HGET', bucket, rest), '%d+') do
    if tonumber(other) ~= ordinal then others[#others + 1] = other end
  end
  if #others > 0 then
    redis.call('HSET', bucket, rest, table.concat(others, ' '))
  else
    redis.call('HDEL', bucket, rest)
  end
  if #visitor == WIDTH then
    local page, at = page_of(t, ordinal)
    redis.call('SETRANGE', page, at, string.rep('\0', WIDTH))
  else
    redis.call('HDEL', texts_of(t, ordinal))
  end
  redis.call('RPUSH', t.tenant .. ':free', ordinal)
  t.visitors = t.visitors - 1
end

-- The keys of a run of ordinals: one after the other, NUL bytes where there is none, and [ordinal, key]… of the others.
local function holders(t, first, count)
  local found, others = {}, {}
  local at = first
  while at < first + count do
    local page, from = page_of(t, at)
    local some = math.min(first + count - at, PAGE - from / WIDTH)
    local keys = redis.call('GETRANGE', page, from, from + some * WIDTH - 1)
    found[#found + 1] = keys == '' and string.rep('\0', some * WIDTH) or keys
    at = at + some
  end
  for number = math.floor(first / TEXTS), math.floor((first + count - 1) / TEXTS) do
    local texts = redis.call('HGETALL', t.tenant .. ':texts:' .. number)
    for i = 1, #texts, 2 do
      others[#others + 1] = number * TEXTS + texts[i]
      others[#others + 1] = texts[i + 1]
    end
  end
  return table.concat(found), others
end

-- Text is made once for each ordinal and second of a batch: formatting takes longer than all else about an argument.
local function remembered(make)
  return setmetatable({}, {__index = function(known, value)
    known[value] = make(value)
    return known[value]
  end})
end
local place = remembered(function(ordinal) return '#' .. ordinal end)
-- Seconds lie little-endian, as numpy reads them; BITFIELD writes big-endian.
local swapped = remembered(function(second) return string.format('%u', bit.bswap(second) % 4294967296) end)

local function column(t, leaf, plane, chunk)
  return t.tenant .. ':col:' .. leaf .. ':' .. plane .. ':' .. chunk
end

-- Make a column's string long enough for `visitors`, in steps that fill the allocator's size classes (four to a
-- doubling, less 64 bytes for the header). Growing in place would double it.
local function reserve(key, visitors)
  local need = visitors * 4
  if redis.call('STRLEN', key) >= need then return end
  local class, quarter = 1024, 4
  while class / 4 * quarter - 64 < need do
    quarter = quarter + 1
    if quarter == 8 then class, quarter = class * 2, 4 end
  end
  local size = class / 4 * quarter - 64
  local old = redis.call('GET', key) or ''
  redis.call('SET', key, old .. string.rep('\0', size - #old))
end

-- A call takes as long as copying the seconds of so many visitors: what lies closer is read in one piece.
local NEAR = 1000

local function second(raw, at)
  local a, b, c, d = string.byte(raw, at, at + 3)
  return d and a + b * 256 + c * 65536 + d * 16777216 or 0
end

-- The seconds at these offsets of a column, 0 where there is none.
local function read(key, offsets)
  local low, high = offsets[1], offsets[1]
  for _, offset in ipairs(offsets) do
    if offset < low then low = offset elseif offset > high then high = offset end
  end
  local found = {}
  if high - low <= NEAR * #offsets then
    local raw = redis.call('GETRANGE', key, low * 4, high * 4 + 3)
    for i, offset in ipairs(offsets) do found[i] = second(raw, (offset - low) * 4 + 1) end
  else
    for i, offset in ipairs(offsets) do
      found[i] = second(redis.call('GETRANGE', key, offset * 4, offset * 4 + 3), 1)
    end
  end
  return found
end

-- What gives the columns their old seconds back. A server undoes nothing when a script fails, and the events of it are
-- tried again or put aside: what was merged would count twice, or count and not be there.
local undone = {}

-- Do all that a script does after its checks; when it fails, nothing is merged.
local function whole(work)
  local done, failure = pcall(work)
  if done then return 1 end
  for _, undo in ipairs(undone) do pcall(undo) end
  -- Named as the server names what it catches itself: scripts.failed() looks for it.
  return redis.error_reply('ERR user_script: ' .. (type(failure) == 'table' and failure.err or failure))
end

-- Write values[i] at offsets[i] for each chosen i.
local function put(key, offsets, values, chosen)
  local highest = 0
  for _, i in ipairs(chosen) do
    if offsets[i] > highest then highest = offsets[i] end
  end
  if #chosen > 0 then reserve(key, highest + 1) end
  for first = 1, #chosen, STEP do
    local command, n = {}, 0
    for c = first, math.min(first + STEP - 1, #chosen) do
      local i = chosen[c]
      command[n + 1] = 'SET'
      command[n + 2] = 'u32'
      command[n + 3] = place[offsets[i]]
      command[n + 4] = swapped[values[i]]
      n = n + 4
    end
    redis.call('BITFIELD', key, unpack(command, 1, n))
  end
end

-- put(), over what was there before; whether there was anything to write.
local function write(key, offsets, values, chosen, old)
  undone[#undone + 1] = function() put(key, offsets, old, chosen) end
  put(key, offsets, values, chosen)
  return #chosen > 0
end

local function merge_latest(t, leaf, chunk, offsets, times)
  local key = column(t, leaf, 0, chunk)
  local old, chosen, n = read(key, offsets), {}, 0
  for i, time in ipairs(times) do
    if time > old[i] then
      n = n + 1
      chosen[n] = i
    end
  end
  return write(key, offsets, times, chosen, old)
end

-- times[i]: a visitor's new times, latest first. Plane j holds the (j+1)-th latest; equal seconds count separately.
local function merge_counted(t, leaf, count, chunk, offsets, times)
  local planes, values, chosen, changed = {}, {}, {}, false
  for j = 0, count - 1 do
    planes[j], values[j], chosen[j] = read(column(t, leaf, j, chunk), offsets), {}, {}
  end
  for i = 1, #offsets do
    local old, new = 0, 1
    for j = 0, count - 1 do
      local kept, fresh = planes[old][i], times[i][new] or 0
      if fresh > kept then
        values[j][i] = fresh
        new = new + 1
      else
        values[j][i] = kept
        old = old + 1
      end
      if values[j][i] ~= planes[j][i] then chosen[j][#chosen[j] + 1] = i end
    end
  end
  for j = 0, count - 1 do
    changed = write(column(t, leaf, j, chunk), offsets, values[j], chosen[j], planes[j]) or changed
  end
  return changed
end

-- Versions come from one counter a tag: those of a leaf that went and came back are new ones, too.
local function touch(t, leaf, chunk)
  local version = redis.call('HINCRBY', t.tenant .. ':meta', 'version', 1)
  redis.call('BITFIELD', t.tenant .. ':ver:' .. leaf, 'SET', 'u32', '#' .. chunk, version)
end

-- Merge times into a leaf's chunk: times[i] is a second when count is 1, else a list.
local function merge(t, leaf, count, chunk, offsets, times)
  local changed
  if count == 1 then
    changed = merge_latest(t, leaf, chunk, offsets, times)
  else
    changed = merge_counted(t, leaf, count, chunk, offsets, times)
  end
  if changed then touch(t, leaf, chunk) end
end

-- Clear an ordinal's times up to and with `until_` in every column of a leaf.
local function clear(t, leaf, count, ordinal, until_)
  local chunk, at = math.floor(ordinal / CHUNK), (ordinal % CHUNK) * 4
  local changed = false
  for j = 0, count - 1 do
    local key = column(t, leaf, j, chunk)
    local old = second(redis.call('GETRANGE', key, at, at + 3), 1)
    if old > 0 and old <= until_ then
      redis.call('SETRANGE', key, at, '\0\0\0\0')
      changed = true
    end
  end
  if changed then touch(t, leaf, chunk) end
end

-- Leaf id and count of each leaf of the tag, the built-in `seen` left out.
local function leaves(t)
  local found = {}
  for _, leaf in ipairs(redis.call('SMEMBERS', t.tenant .. ':leaves')) do
    found[#found + 1] = {leaf, tonumber(redis.call('HGET', t.tenant .. ':leaf:' .. leaf, 'count'))}
  end
  return found
end
