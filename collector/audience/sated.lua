-- Strike a tag from the list of those that want more past, if none of its leaves does.
-- KEYS: state. ARGV: prefix of the partition, tag.
local t = open(ARGV[1] .. ':' .. ARGV[2])
for _, leaf in ipairs(leaves(t)) do
  local from = redis.call('HMGET', t.tenant .. ':leaf:' .. leaf[1], 'wanted_from', 'covered_from')
  if tonumber(from[1]) < tonumber(from[2]) then return end
end
redis.call('SREM', ARGV[1] .. ':wanting', ARGV[2])
