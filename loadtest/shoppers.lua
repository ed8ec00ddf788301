-- A wrk script: shoppers, each request of a new visitor with event ids never seen before.
-- Arguments: tag, origin, events a request, milliseconds between a connection's requests (0: none), seed, shape.
-- Shape: json (ours), pixel (ours), gif (no more than an address), xadd (an event as webdis takes it).
local agents = {
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
  "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
  "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
}
local names = {"pagevisit", "pagevisit", "viewcategory", "addtocart", "checkout"}
local headers, head, event, events, pause, shape, pixel
local random = math.random

local function hex() return string.format("%08x%08x%08x", random(0, 2^31 - 1), random(0, 2^31 - 1), random(0, 2^31 - 1)) end

function init(args)
  events, pause = tonumber(args[3]), tonumber(args[4])
  math.randomseed(tonumber(args[5]))
  shape = args[6]
  headers = {}
  for i, agent in ipairs(agents) do
    headers[i] = {["Content-Type"] = "text/plain", ["Origin"] = args[2], ["User-Agent"] = agent}
  end
  head = '{"tag":"' .. args[1] .. '","visitor":"%s%08x","sent_at":%d000,"consent":{"ad_storage":"granted",'
    .. '"ad_user_data":"granted","ad_personalization":"granted"},"events":['
  event = '{"event":"%s","event_id":"%s","event_time":%d,"url":"' .. args[2]
    .. '/s%d/product-%d?colour=red","referrer":"https://search.example/","data":{"value":%d.5,"currency":"EUR",'
    .. '"product_category":"c%d","line_items":[{"product_id":"A%d","product_name":"Walking shoes",'
    .. '"product_price":%d.5,"product_quantity":1}]}}'
  pixel = "/v1/pixel.gif?tag=" .. args[1] .. "&visitor=%s%08x&consent=granted&event=%s&event_id=%s&url="
    .. args[2]:gsub("[:/]", function(c) return string.format("%%%%%02X", c:byte()) end)
    .. "%%2Fs%d%%2Fproduct-%d&ed[value]=%d.5&ed[currency]=EUR&ed[product_category]=c%d&ed[line_items][0][product_id]=A%d"
  if pause > 0 then
    delay = function() return random(0, 2 * pause) end
  end
end

function request()
  local now, agent = os.time(), headers[random(1, #headers)]
  if shape == "gif" then return wrk.format("GET", "/gif", agent) end
  if shape == "pixel" then
    local n = random(0, 999)
    return wrk.format("GET", string.format(pixel, hex(), random(0, 2^31 - 1), names[n % 5 + 1], hex(), n % 6, n, n % 200,
      n % 6, n % 200), agent)
  end
  local parts = {}
  for i = 1, events do
    local n = random(0, 999)
    parts[i] = string.format(event, names[n % 5 + 1], hex(), now, n % 6, n, n % 200, n % 6, n, n % 200)
  end
  local body = string.format(head, hex(), random(0, 2^31 - 1), now) .. table.concat(parts, ",") .. "]}"
  if shape == "xadd" then
    body = "XADD/events/*/event/" .. body:gsub("[^%w]", function(c) return string.format("%%%02X", c:byte()) end)
  end
  return wrk.format("POST", nil, agent, body)
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nresult {"requests": %d, "seconds": %.6f, "errors": %d, "p50": %.3f, "p99": %.3f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
