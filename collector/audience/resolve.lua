-- What is known of visitors. KEYS: state. ARGV: tenant, then for each visitor its hash, key and mark.
-- Returns {epoch, [ordinal or -1, time of the bar or 0, time of the tombstone or 0]…}, flat.
local t = open(ARGV[1])
local marked = redis.call('EXISTS', t.tenant .. ':bars', t.tenant .. ':tombs') > 0
local found = {of_lineage(redis.call('HGET', KEYS[1], 'epoch'))}
for i = 2, #ARGV, 3 do
  found[#found + 1] = lookup(t, tonumber(ARGV[i]), ARGV[i + 1]) or -1
  found[#found + 1] = marked and tonumber(redis.call('HGET', t.tenant .. ':bars', ARGV[i + 2])) or 0
  found[#found + 1] = marked and tonumber(redis.call('HGET', t.tenant .. ':tombs', ARGV[i + 2])) or 0
end
return found
