import { numberOf } from "./options.js";
import { follow } from "./follow.js";

export const usage = `Usage: fanout sub [OPTION]... CHANNEL...

Prints the messages that come on channels, until it is interrupted.

  -n, --count N            ends after N messages
      --history N          begins with the last N messages of each
  -e, --event NAME         only messages of this event; again for more
      --signals            signals too
`;

export const options = {
    "count": { type: "string", short: "n" },
    "history": { type: "string" },
    "event": { type: "string", short: "e", multiple: true },
    "signals": { type: "boolean" },
};

export async function run(args, session) {
    const count = numberOf(args, "count", Infinity, 1);
    const history = numberOf(args, "history", undefined, 0);
    const hub = await session.connect();

    await follow(hub, session, args.positionals.map((name) => ({
        name, history, events: args.event, signals: args.signals,
    })), count);
}
