/*
 * What a component shows, for React, Vue and Svelte: each function calls show()
 * with a new object at once and whenever it changes, until the function that it
 * returns is called. The hub is what src/client/hub.js makes.
 */

/*
 * {messages, state, error}: the last messages, at most limit of them. A channel
 * that others have joined before is asked for its history.
 */

export function messages(hub, name, { limit = 100, ...options } = {}, show) {
    const channel = hub.channel(name, options);
    const ends = [];
    let all = [];
    let live = true;

    const changed = () => live && show({
        messages: all, state: channel.state, error: channel.error,
    });

    const add = (before, after) => {
        all = [...before, ...all, ...after].slice(-limit);
        changed();
    };

    ends.push(channel.on("message", (m) => add([], [m])),
              channel.on("state", changed),
              channel.on("lost", ({ reason }) => {
                  if (reason === "reset") {
                      all = [];
                      changed();
                  }
              }));
    changed();

    if (channel.joined && options.history) {
        channel.history({ limit: options.history }).then((reply) => {
            const first = all.find((m) => m.offset !== undefined);

            add(reply.messages.filter(
                (m) => !first || m.offset < first.offset), []);

        }, () => {});                   /* then there are only new ones */
    }

    return () => {
        live = false;
        ends.forEach((end) => end());
    };
}

/* An array of the members. With data, this client is one of them. */

export function members(hub, name, data, show) {
    const { presence } = hub.channel(name);
    const changed = () => show([...presence.values()]);
    const off = presence.on("change", changed);
    const leave = data === undefined ? () => {} : presence.use(data);

    changed();

    return () => {
        off();
        leave();
    };
}

/*
 * {fields, version, pending, conflict}. conflict is the last one until its
 * retry() or drop() is called.
 */

export function record(hub, name, id, show) {
    const one = hub.channel(name).record(id);
    let conflict;

    const changed = () => show({
        fields: one.fields, version: one.version, pending: one.pending,
        conflict,
    });

    const end = () => {
        conflict = undefined;
        changed();
    };

    const ends = [
        one.on("change", changed),
        one.on("conflict", (told) => {
            conflict = { ...told, drop: end, retry() {
                end();
                return told.retry();
            } };
            changed();
        }),
    ];

    changed();

    return () => ends.forEach((off) => off());
}
