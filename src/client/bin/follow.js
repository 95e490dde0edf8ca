/* Prints what comes on channels. */

/* A message as it was published: bytes are base64 again. */

export function show(session, epoch, { channel, ...message }) {
    const { offset, time, event, from, to, data, enc } = message;
    const plain = enc === "base64"
        ? Buffer.from(data).toString("base64") : data;

    session.print({ channel, epoch, ...message, data: plain },
                  [channel, offset === undefined ? undefined : "#" + offset,
                   from?.user ?? from?.client, to && "to",
                   to?.user ?? to?.client, event],
                  plain, time);
}

/*
 * Each channel is {name, history, since, events, signals}. Joins all of them,
 * and ends the session after count messages.
 */

export async function follow(hub, session, channels, count = Infinity) {
    let left = count;

    await Promise.all(channels.map(({ name, signals, ...options }) => {
        const channel = session.channel(hub, name, {
            want: signals ? ["messages", "signals"] : ["messages"],
            ...defined(options),
        });

        channel.on("message", (message) => {
            if (left > 0) {
                show(session, channel.position?.epoch, message);

                if (--left === 0) {
                    session.end(0);
                }
            }
        });

        channel.on("lost", (lost) => session.print(
            { channel: name, lost }, [name, "lost", lost.reason],
            { ...lost, reason: undefined }));

        channel.on("signal", (signal) => session.print(
            { ...signal, channel: name },
            [name, "signal", signal.from?.user ?? signal.from?.client,
             signal.signal, signal.tag], signal.data));

        return channel.join();
    }));
}

function defined(options) {
    return Object.fromEntries(Object.entries(options)
        .filter(([, value]) => value !== undefined));
}
