-- The dictionary and the columns of one tag in one partition. `tenant` is the prefix of its keys.

-- Visitors in a chunk: 64 fewer than 65,536, so that a full chunk and its string header fit a 256 KiB
-- allocation; a byte more and the allocator takes 320 KiB.
local CHUNK = 65472
local PAGE = 64
-- A dictionary bucket holds 40 visitors on average: small enough for a listpack's linear search.
local LOAD = 40
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

local function lookup(t, hash, visitor)
  return redis.call('HGET', t.tenant .. ':dict:' .. bucket_of(hash, t.buckets), visitor)
end

local function insert(t, salt, hash, visitor, ordinal)
  redis.call('HSET', t.tenant .. ':dict:' .. bucket_of(hash, t.buckets), visitor, ordinal)
  redis.call('HSET', t.tenant .. ':ids:' .. math.floor(ordinal / PAGE), ordinal % PAGE, visitor)
  t.visitors = t.visitors + 1
  if t.visitors <= LOAD * t.buckets then return end
  local source, modulus = split_of(t.buckets)
  local from, to = t.tenant .. ':dict:' .. source, t.tenant .. ':dict:' .. t.buckets
  local entries = redis.call('HGETALL', from)
  local stay, move = {}, {}
  for i = 1, #entries, 2 do
    local h = tonumber(string.sub(redis.sha1hex(salt .. entries[i]), 1, 8), 16)
    local side = h % modulus == t.buckets and move or stay
    side[#side + 1] = entries[i]
    side[#side + 1] = entries[i + 1]
  end
  -- Written anew, not deleted from: a listpack keeps the room of what it lost.
  redis.call('DEL', from)
  if #stay > 0 then redis.call('HSET', from, unpack(stay)) end
  if #move > 0 then redis.call('HSET', to, unpack(move)) end
  t.buckets = t.buckets + 1
end

local function remove(t, hash, visitor, ordinal)
  redis.call('HDEL', t.tenant .. ':dict:' .. bucket_of(hash, t.buckets), visitor)
  redis.call('HDEL', t.tenant .. ':ids:' .. math.floor(ordinal / PAGE), ordinal % PAGE)
  redis.call('RPUSH', t.tenant .. ':free', ordinal)
  t.visitors = t.visitors - 1
end

-- Seconds lie little-endian, as numpy reads them; BITFIELD reads big-endian.
local function swap(value)
  local swapped = bit.bswap(value)
  if swapped < 0 then swapped = swapped + 4294967296 end
  return swapped
end

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

local function read(key, offsets, first, last)
  local command = {}
  for i = first, last do
    local n = #command
    command[n + 1] = 'GET'
    command[n + 2] = 'u32'
    command[n + 3] = '#' .. offsets[i]
  end
  return redis.call('BITFIELD', key, unpack(command))
end

local function write(key, offsets, values, chosen)
  if #chosen == 0 then return end
  local command, highest = {}, 0
  for _, i in ipairs(chosen) do
    local n = #command
    command[n + 1] = 'SET'
    command[n + 2] = 'u32'
    command[n + 3] = '#' .. offsets[i]
    command[n + 4] = swap(values[i])
    if offsets[i] > highest then highest = offsets[i] end
  end
  reserve(key, highest + 1)
  redis.call('BITFIELD', key, unpack(command))
end

local function merge_latest(t, leaf, chunk, offsets, times, first, last)
  local key = column(t, leaf, 0, chunk)
  local old, chosen = read(key, offsets, first, last), {}
  for i = first, last do
    if times[i] > swap(old[i - first + 1]) then chosen[#chosen + 1] = i end
  end
  write(key, offsets, times, chosen)
  return #chosen > 0
end

-- times[i]: a visitor's new times, latest first. Plane j holds the (j+1)-th latest; equal seconds count separately.
local function merge_counted(t, leaf, count, chunk, offsets, times, first, last)
  local planes, changed = {}, false
  for j = 0, count - 1 do planes[j] = read(column(t, leaf, j, chunk), offsets, first, last) end
  local values, chosen = {}, {}
  for j = 0, count - 1 do values[j], chosen[j] = {}, {} end
  for i = first, last do
    local old, new = 0, 1
    for j = 0, count - 1 do
      local kept = swap(planes[old][i - first + 1])
      local fresh = times[i][new] or 0
      if fresh > kept then
        values[j][i] = fresh
        new = new + 1
      else
        values[j][i] = kept
        old = old + 1
      end
      if values[j][i] ~= swap(planes[j][i - first + 1]) then chosen[j][#chosen[j] + 1] = i end
    end
  end
  for j = 0, count - 1 do
    write(column(t, leaf, j, chunk), offsets, values[j], chosen[j])
    changed = changed or #chosen[j] > 0
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
  local changed = false
  for first = 1, #offsets, STEP do
    local last = math.min(first + STEP - 1, #offsets)
    local did
    if count == 1 then
      did = merge_latest(t, leaf, chunk, offsets, times, first, last)
    else
      did = merge_counted(t, leaf, count, chunk, offsets, times, first, last)
    end
    changed = changed or did
  end
  if changed then touch(t, leaf, chunk) end
end

-- Clear an ordinal's times up to and with `until_` in every column of a leaf.
local function clear(t, leaf, count, ordinal, until_)
  local chunk, at = math.floor(ordinal / CHUNK), (ordinal % CHUNK) * 4
  local changed = false
  for j = 0, count - 1 do
    local key = column(t, leaf, j, chunk)
    local raw = redis.call('GETRANGE', key, at, at + 3)
    if #raw == 4 and raw ~= '\0\0\0\0' and struct.unpack('<I4', raw) <= until_ then
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
