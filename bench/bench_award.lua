-- bench_award.lua - wrk script: one measurement event after the other, spread
-- over 10,000 users.  Environment: AWARD_PATH,
-- AWARD_KEY, AWARD_USERS.
local path = os.getenv("AWARD_PATH")
local users = tonumber(os.getenv("AWARD_USERS") or "10000")
local head = {
	["Content-Type"] = "application/json",
	["X-API-Key"] = os.getenv("AWARD_KEY"),
}
local seeds = 0

function setup(thread)
	seeds = seeds + 1
	thread:set("seed", seeds)
end

function init()
	math.randomseed(os.time() * 31 + seed)
end

function request()
	local body = string.format(
		'{"externalUserId":"bench-user-%d","data":{"pm25":12.5,'
		.. '"zone":"harbour","priority_zone":true,"streak_days":%d}}',
		math.random(users), math.random(7))
	return wrk.format("POST", path, head, body)
end

local refused

function response(status, _, body)
	if status ~= 200 and not refused then
		refused = true
		io.stderr:write("bench_award: ", status, " ", body, "\n")
	end
end

function done(summary, latency)
	local bad = summary.errors.status + summary.errors.connect
		+ summary.errors.read + summary.errors.write
	io.write(string.format("RESULT %.0f %.0f %.0f %d\n",
		summary.requests * 1e6 / summary.duration,
		latency:percentile(50), latency:percentile(99), bad))
end
