import { follow, show } from "./follow.js";
import { numberOf, UsageError } from "./options.js";

const UNITS = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };

export const usage = `Usage: fanout tail [OPTION]... CHANNEL...

Prints the last messages of channels, and then what comes.

  -n, --lines N            the last N messages of each: 10
      --since WHEN         all messages since then instead: 90s, 10m, 2h or 1d
                           ago, a time like 2026-11-03T12:00:00Z, "start", or
                           those behind a position, EPOCH:OFFSET
  -e, --event NAME         only messages of this event; again for more
      --no-follow          ends after what there is
`;

export const options = {
    "lines": { type: "string", short: "n" },
    "since": { type: "string" },
    "event": { type: "string", short: "e", multiple: true },
    "no-follow": { type: "boolean" },
};

export async function run(args, session) {
    const lines = numberOf(args, "lines", 10, 0);
    const since = sinceOf(args.since);
    const { event: events } = args;

    if (args.lines !== undefined && since) {
        throw new UsageError("--lines or --since");
    }

    const hub = await session.connect();
    const channels = [];

    for (const name of args.positionals) {
        const channel = session.channel(hub, name, {});
        const { messages, recovered, epoch, offset }
            = await read(channel, since, lines);

        if (recovered === false) {
            session.print({ channel: name, lost: { reason: "unrecovered" } },
                          [name, "lost", "unrecovered"]);
        }

        messages.filter((m) => !events || events.includes(m.event ?? ""))
            .forEach((m) => show(session, epoch, m));
        channels.push({ name, events, since: { epoch, offset } });
    }

    if (args["no-follow"]) {
        return 0;
    }

    await follow(hub, session, channels);
}

/* {position}, {time} in ms, or undefined */

function sinceOf(text) {
    if (text === undefined) {
        return undefined;
    }

    const [, n, unit] = /^(\d+)([smhd])$/.exec(text) || [];
    const [, epoch, offset] = /^([0-9a-f]+):(\d+)$/.exec(text) || [];
    const at = Date.parse(text);

    if (text === "start") {
        return { time: 0 };
    }

    if (n) {
        return { time: Date.now() - n * UNITS[unit] };
    }

    if (epoch) {
        return { position: { epoch, offset: Number(offset) } };
    }

    if (!/^\d{4}-/.test(text) || Number.isNaN(at)) {
        throw new UsageError(`--since is no time or position: "${text}"`);
    }

    return { time: at };
}

/* The messages, oldest first, and the position behind all of them. */

async function read(channel, since, lines) {
    return since?.position ? forwards(channel, since.position)
         : backwards(channel, since?.time ?? 0, since ? Infinity : lines);
}

async function forwards(channel, position) {
    const messages = [];
    let recovered;
    let reply;
    let more;

    do {
        reply = await channel.history({ since: position });
        recovered ??= reply.recovered;
        messages.push(...reply.messages);

        more = reply.epoch !== position.epoch ? reply.next !== undefined
                                              : reply.next > position.offset;
        position = { epoch: reply.epoch, offset: reply.next };

    } while (more);

    return { ...reply, messages, recovered };
}

/* Pages from the newest to the oldest. */

async function backwards(channel, time, lines) {
    const pages = [];
    let last;
    let before;
    let left = Math.max(lines, 1);

    do {
        const reply = await channel.history({
            limit: Math.min(left, 100), ...before && { before },
        });

        if (before && !(reply.next < before)) {
            reply.next = undefined;         /* or it would never end */
        }

        last ??= reply;
        before = reply.next;
        left -= reply.messages.length;
        pages.unshift(reply.messages);

        if (!reply.messages.length || reply.messages[0].time < time) {
            break;
        }

    } while (before !== undefined && left > 0);

    const messages = pages.flat().filter((m) => m.time >= time);

    return { ...last, recovered: undefined,
             messages: lines < Infinity ? messages.slice(-lines || Infinity)
                                        : messages };
}
