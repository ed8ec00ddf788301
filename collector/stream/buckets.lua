-- Linear hashing: a table of n buckets grows by one bucket at a time, so no call ever rehashes everything.
-- bucket_of(h, n): the bucket of hash h among n, and the modulus that gave it.
local function bucket_of(h, n)
  local m = 1
  while m * 2 <= n do m = m * 2 end
  local b = h % m
  if b < n - m then return h % (m * 2), m * 2 end
  return b, m
end

-- The bucket that must be split when bucket number n comes to be, and the modulus that tells who moves.
local function split_of(n)
  local m = 1
  while m * 2 <= n do m = m * 2 end
  return n - m, m * 2
end
