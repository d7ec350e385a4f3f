-- What wrk sends: single tasks or batches, with a key, with idempotency keys, unbounded or at a fixed rate.
--
--   wrk … --script load.lua URL -- [batch=N] [rate=N] [idempotent]
--
-- POSTHASTE_KEY is the API key, if any. With a rate, requests have places on one schedule for all connections of a
-- thread, and each free connection takes the next place, so that the load neither comes in bursts nor
-- waits for answers as long as a connection is free. Use one thread. `done` prints one line: accepted tasks a second, p50, p99, ms,
-- and the requests or tasks that failed.

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long s; long ns; } posthaste_time;
int clock_gettime(int clock, posthaste_time *time);
]]
local time = ffi.new("posthaste_time")

local function now_ms()
    ffi.C.clock_gettime(0, time)
    return tonumber(time.s) * 1e3 + tonumber(time.ns) / 1e6
end

local task = '{"type":"echo","channel":"bench-ingest",'
    .. '"payload":{"invoice":"2026-0042","lines":[1,2,3],"customer":"somebody"}}'
-- wrk calls `setup` and `done` in a Lua state of their own: what they shall see of a thread is global there.
per_request, refused = 1, 0
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

local function pace(rate)
    local place
    function delay()
        local now = now_ms()
        place = math.max(place or now, now - 1000) + 1000 / rate
        return math.max(0, math.floor(place - now))
    end
end

local function with_idempotency_keys()
    local before, after = wrk.format():match("^(.-\r\n)(.*)$")
    local prefix, number = string.format("%sIdempotency-Key: \"%.0f-%p-", before, now_ms(), threads), 0
    function request()
        number = number + 1
        return prefix .. number .. "\"\r\n" .. after
    end
end

function init(args)
    local options = {}
    for _, argument in ipairs(args) do
        local name, value = argument:match("^(%w+)=?(.*)$")
        options[name] = tonumber(value) or true
    end
    wrk.method, wrk.path, wrk.body = "POST", "/v1/tasks", task
    wrk.headers["Content-Type"] = "application/json"
    local key = os.getenv("POSTHASTE_KEY")
    if key and key ~= "" then
        wrk.headers["Authorization"] = "Bearer " .. key
    end
    if options.batch then
        per_request, wrk.path = options.batch, "/v1/tasks/batch"
        wrk.body = '{"tasks":[' .. task .. ("," .. task):rep(per_request - 1) .. "]}"
        -- Looks into the answers only where a 202 may hold refused tasks.
        function response(status, headers, body)
            for _ in body:gmatch('"error"') do
                refused = refused + 1
            end
        end
    end
    if options.rate then
        pace(options.rate / per_request)
    end
    if options.idempotent then
        with_idempotency_keys()
    end
end

function done(summary, latency)
    local errors, thread = summary.errors, threads[1]
    local tasks = thread:get("per_request") * (summary.requests - errors.status) - thread:get("refused")
    local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout + thread:get("refused")
    io.write(string.format("measured\t%.0f\t%.2f\t%.2f\t%d\n", tasks / (summary.duration / 1e6),
        latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
