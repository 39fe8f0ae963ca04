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

local function live(key, now)
    local found, total = {}, 0
    local kept = redis.call('HGETALL', key)
    for i = 1, #kept, 2 do
        local last, amount = string.match(kept[i + 1], '(%d+):(%d+)')
        last, amount = tonumber(last), tonumber(amount)
        if last + WINDOW_MS > now then
            total = total + amount
            table.insert(found, {last, amount})
        else
            redis.call('HDEL', key, kept[i])
        end
    end
    table.sort(found, function(a, b) return a[1] < b[1] end)
    return found, total
end

local function reset_of(sums, now)
    for i = #sums, 1, -1 do
        if sums[i][2] > 0 then
            return sums[i][1] + WINDOW_MS - now
        end
    end
    return 0
end
