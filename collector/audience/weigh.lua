-- What a partition's columns take. KEYS: state. ARGV: prefix of the partition.
-- Returns [tag, ordinals, planes of its leaves]….
local found = {}
for _, tag in ipairs(redis.call('SMEMBERS', ARGV[1] .. ':tags')) do
  local t = open(ARGV[1] .. ':' .. tag)
  local planes = 1 -- seen
  for _, leaf in ipairs(leaves(t)) do planes = planes + leaf[2] end
  found[#found + 1] = {tag, t.next, planes}
end
return found
