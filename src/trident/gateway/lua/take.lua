-- Takes every share or none; `windows.py` has the same in Python and says why.
-- KEYS: clock, held, then a limit each. ARGV: wall, holder, ms that a concurrent share is held unless renewed,
-- then kind, limit and amount of each share.
-- Answers: second, number of the share that did not fit (0: all did), ms until it would (-1: never),
-- then used and ms until reset of each limit.
local HELD_MS = 86400000

local function wait_of(sums, now, needed)
    for _, sum in ipairs(sums) do
        needed = needed - sum[2]
        if needed <= 0 then
            return sum[1] + WINDOW_MS - now
        end
    end
    return math.huge
end

local now = advance(KEYS[1], ARGV[1])
local holder, lease = ARGV[2], tonumber(ARGV[3])
local refused, longest, answer = 0, -1, {}
for i = 1, #KEYS - 2 do
    local key, kind = KEYS[i + 2], ARGV[3 * i + 1]
    local limit, amount = tonumber(ARGV[3 * i + 2]), tonumber(ARGV[3 * i + 3])
    local used, reset, wait = 0, 0, 0
    if kind == 'concurrent' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
        used = redis.call('ZCARD', key)
    else
        local sums
        sums, used = live(key, now)
        reset = reset_of(sums, now)
        wait = wait_of(sums, now, used + amount - limit)
    end
    if used + amount > limit and wait > longest then
        refused, longest = i, wait
    end
    table.insert(answer, used)
    table.insert(answer, reset)
end

if refused == 0 then
    redis.call('SET', KEYS[2], '1', 'PX', HELD_MS)
    for i = 1, #KEYS - 2 do
        local key, kind, amount = KEYS[i + 2], ARGV[3 * i + 1], tonumber(ARGV[3 * i + 3])
        if kind == 'concurrent' then
            redis.call('ZADD', key, string.format('%.0f', now + lease), holder)
            redis.call('PEXPIRE', key, 2 * lease)
        elseif amount > 0 then
            add(key, now, amount)
            answer[2 * i] = WINDOW_MS
        end
        answer[2 * i - 1] = answer[2 * i - 1] + amount
    end
end
if longest == math.huge then
    longest = -1
end
return {math.floor(now / 1000), refused, longest, unpack(answer)}
