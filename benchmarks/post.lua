-- The wrk script of the benchmark: posts one body repeatedly, and prints the figures as JSON.
--     wrk -s post.lua URL -- BODY_FILE CONTENT_TYPE      (neither: a GET)

function init(arguments)
   if #arguments == 2 then
      local file = assert(io.open(arguments[1], "rb"))
      wrk.method = "POST"
      wrk.body = file:read("*a")
      wrk.headers["Content-Type"] = arguments[2]
      file:close()
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "microseconds": %d, "failed": %d, "p50": %d, "p99": %d}\n',
      summary.requests, summary.duration,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50), latency:percentile(99)))
end
