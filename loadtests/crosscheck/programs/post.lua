-- wrk's script: one POST, made once. Arguments: the body's file, then names and values of the header lines.
function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   wrk.method = "POST"
   wrk.body = file:read("*a")
   file:close()
   for at = 2, #arguments, 2 do
      wrk.headers[arguments[at]] = arguments[at + 1]
   end
end

-- One line of JSON: wrk's own text rounds latencies to three digits. Times are microseconds; each latency with its count.
function done(summary, latency, requests)
   local errors, latencies = summary.errors, {}
   for index = 1, #latency do
      latencies[index] = string.format("[%d, %d]", latency(index))
   end
   io.write(string.format(
      '{"requests": %d, "duration": %d, "failures": %d, "latencies": [%s]}\n',
      summary.requests, summary.duration,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      table.concat(latencies, ", ")
   ))
end
