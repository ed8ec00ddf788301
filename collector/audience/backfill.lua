-- Merge past matches of one leaf, visitor by visitor, and note how far it came, in one call.
-- The visitors are looked up here and their marks with them, so no stale belief can enter.
-- KEYS: state. ARGV: lineage in which the files were listed, tenant, leaf, live_from, covered_from and `after` as
--       believed, the second from which the past is being read, new `after` or '' at the end,
--       rows (msgpack): [hash, mark, [times, latest first]]…, then the key of each row's visitor.
-- Returns 1, or 0 when the lineage or the leaf is another, the leaf is gone or was stopped by hand, or somebody else has
-- moved on with it.
if lineage() ~= ARGV[1] then return 0 end
local t = open(ARGV[2])
local key = t.tenant .. ':leaf:' .. ARGV[3]
local leaf = redis.call('HMGET', key, 'live_from', 'covered_from', 'after', 'filling_from', 'count', 'failed')
if leaf[6] == 'stopped' then return 0 end
if leaf[1] ~= ARGV[4] or leaf[2] ~= ARGV[5] or (leaf[3] or '') ~= ARGV[6] then return 0 end
if leaf[3] and leaf[4] ~= ARGV[7] then return 0 end
local count = tonumber(leaf[5])
local marked = redis.call('EXISTS', t.tenant .. ':bars', t.tenant .. ':tombs') > 0
local chunks = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[9])) do
  local ordinal = lookup(t, row[1], ARGV[9 + i])
  if ordinal then
    local until_ = 0
    if marked then
      until_ = math.max(
        tonumber(redis.call('HGET', t.tenant .. ':bars', row[2])) or 0,
        tonumber(redis.call('HGET', t.tenant .. ':tombs', row[2])) or 0)
    end
    local times = {}
    for _, second in ipairs(row[3]) do
      if second > until_ then times[#times + 1] = second end
    end
    if #times > 0 then
      local number = math.floor(ordinal / CHUNK)
      local c = chunks[number] or {{}, {}}
      chunks[number] = c
      c[1][#c[1] + 1] = ordinal % CHUNK
      c[2][#c[2] + 1] = count == 1 and times[1] or times
    end
  end
end
return whole(function()
  for number, c in pairs(chunks) do merge(t, ARGV[3], count, number, c[1], c[2]) end
  if ARGV[8] ~= '' then
    redis.call('HSET', key, 'after', ARGV[8], 'filling_from', ARGV[7])
  else
    redis.call('HSET', key, 'covered_from', ARGV[7])
    redis.call('HDEL', key, 'after', 'filling_from')
  end
end)
