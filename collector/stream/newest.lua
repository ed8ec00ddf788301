-- The id of the newest entry that a stream ever had, trimmed or not; 0-0 if there was none.
local function newest_of(stream)
  if redis.call('EXISTS', stream) == 1 then
    local info = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then return info[i + 1] end
    end
  end
  return '0-0'
end

