-- Sends the requests of a file in turn: one per line, cookie and body apart by a tab.
local requests, at = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    local cookie, body = line:match("^(.-)\t(.*)$")
    local headers = {["Cookie"] = cookie, ["Content-Type"] = "application/json"}
    requests[#requests + 1] = wrk.format("POST", "/api/session-token", headers, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "errors": %d, "p50": %f, "p99": %f}\n',
    summary.requests, summary.duration / 1e6, e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
