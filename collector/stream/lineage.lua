-- Which history of writes this server goes on with: a failover or a restart begins another, which may lack what was
-- read of the one before.
local function lineage()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- A counter as it is told and checked: of one history only.
local function of_lineage(counter) return lineage() .. ':' .. (counter or '0') end

