-- Milliseconds on Redis's clock, the same for every gateway. When that clock is set back, this one goes on from where it
-- was. `wall` is empty but in tests.
local WINDOW_MS = 60000

local function advance(key, wall)
    local now = tonumber(wall)
    if not now then
        local time = redis.call('TIME')
        now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    end
    local kept = redis.call('HMGET', key, 'last', 'offset')
    local last, offset = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
    if now + offset < last then
        offset = last - now
    end
    now = now + offset
    redis.call('HSET', key, 'last', string.format('%.0f', now), 'offset', string.format('%.0f', offset))
    redis.call('PEXPIRE', key, 10 * WINDOW_MS)
    return now
end

local function add(key, now, amount)
    local second = string.format('%.0f', math.floor(now / 1000))
    local kept = redis.call('HGET', key, second)
    local sum = kept and tonumber(string.match(kept, ':(%d+)')) or 0
    redis.call('HSET', key, second, string.format('%.0f:%.0f', now, sum + amount))
    redis.call('PEXPIRE', key, 2 * WINDOW_MS)
end
