-- A run of ordinals in one moment: their times in some planes, and who they are.
-- KEYS: state. ARGV: tenant, first ordinal, how many (within one chunk),
--       then leaf, plane of each column. Returns {next, [times as bytes]…, keys and other keys as holders() has them}.
local t = open(ARGV[1])
local first, count = tonumber(ARGV[2]), tonumber(ARGV[3])
local chunk, at = math.floor(first / CHUNK), (first % CHUNK) * 4
local found = {t.next, {}, holders(t, first, count)}
for i = 4, #ARGV, 2 do
  found[2][#found[2] + 1] = redis.call('GETRANGE', column(t, ARGV[i], ARGV[i + 1], chunk), at, at + count * 4 - 1)
end
return found
