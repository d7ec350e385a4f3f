-- One small task a request; prints what was accepted and the percentiles that wrk leaves out.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"type":"echo","channel":"bench-accept","payload":{"invoice":"2026-0042","lines":[1,2,3],"customer":"somebody"}}'

function done(summary, latency)
    local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
    io.write(string.format("accepted/s %.0f  failed %d  p50 %.2f ms  p90 %.2f ms  p99 %.2f ms  max %.2f ms\n",
        (summary.requests - summary.errors.status) / (summary.duration / 1e6), failed,
        latency:percentile(50) / 1000, latency:percentile(90) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
