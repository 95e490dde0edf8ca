/* What an application may write; tsc reads it, nobody runs it. */

import { Fanout, FanoutError, type Message } from "../../src/client/fanout.js";
import { pace } from "../../src/client/pace.js";
import { useChannel, usePresence } from "../../src/client/react/index.js";
import { channelStore } from "../../src/client/svelte/index.js";
import { useRecord } from "../../src/client/vue/index.js";

interface Chat { text: string }

const hub = new Fanout("/realtime", {
    token: async () => "t", queue: { limit: 10, full: "drop-oldest" },
});

hub.on("state", ({ state, reason }) => {
    const s: string = state;
    const code: string | undefined = reason?.code;

    /* @ts-expect-error there is no such state */
    if (state === "open") { console.log(s, code); }
});

const room = hub.channel<Chat>("room:1", { history: 20, presence: { x: 1 } });

async function main(): Promise<void> {
    for await (const message of room) {
        const text: string = message.data.text;
        const m: Message<Chat> = message;

        console.log(text, m.from?.user);
    }

    const sending = room.publish({ text: "hi" }, { event: "msg" });
    const ok = await sending;
    const offset: number = ok.offset;

    /* @ts-expect-error it is no Chat */
    room.publish(5);

    const off = room.presence.on("leave", (m) => m.reason.length);

    off();
    room.on("lost", (lost) => {
        if (lost.reason === "gap") { console.log(lost.from, offset); }
    });

    for (const [name, member] of room.presence) {
        console.log(name, member.slot);
    }

    const page = await room.history({ limit: 5 });

    console.log(page.messages[0]?.data.text);

    try {
        await room.join();

    } catch (e) {
        if (e instanceof FanoutError) { console.log(e.code, e.data); }
    }

    const record = hub.channel("table:1")
        .record<{ title: string; age: number }>("r1");

    record.set({ title: "x" }, { mode: "reject" });

    /* @ts-expect-error it is no number */
    record.set({ age: "x" });
    record.on("conflict", ({ fields, retry }) => {
        console.log(fields.title.mine, fields.title.value);
        retry();
    });

    const lock = room.lock("x", { wait: 1000 });

    await lock;
    console.log(lock.token, room.signal("typing", {}, { every: 100 }));
    lock.release();
    hub.close();
}

function parts(): void {
    const { messages, publish } = useChannel<Chat>(hub, "room:1", { limit: 9 });
    const [member] = usePresence(hub, "room:1", { color: "red" });
    const { fields, set } = useRecord<Chat>(hub, () => "table:1", "r1");
    const off = channelStore<Chat>(hub, "room:1").subscribe(
        ({ messages: [first] }) => console.log(first?.data.text));

    publish({ text: messages[0].data.text });
    set({ text: fields.value?.text });
    console.log(member.user);
    off();

    const type = pace(hub, "text", (text: string) => publish({ text }));
    const count = pace(hub, "analytics", (all: string[]) => all.length);

    type("x");
    count("y");
    count.stop();

    /* @ts-expect-error there is no such pace */
    pace(hub, "words", () => {});

    /* @ts-expect-error presence is usePresence() */
    useChannel(hub, "room:1", { presence: {} });
}

main();
parts();
