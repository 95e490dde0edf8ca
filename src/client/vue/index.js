/* Composables for Vue 3: docs/frameworks.md. Arguments may be refs. */

import { computed, onScopeDispose, shallowRef, toValue, watch } from "vue";

import * as live from "../live.js";

/* start(...args, show) runs in this scope, and anew for other arguments. */

function useLive(start, initial, ...args) {
    const value = shallowRef(initial);
    let stop;

    watch(() => JSON.stringify(args.map((arg) => toValue(arg))), () => {
        stop?.();
        stop = start(...args.map((arg) => toValue(arg)),
                     (shown) => value.value = shown);
    }, { immediate: true });

    onScopeDispose(() => stop?.());

    return value;
}

/* {name: a ref} of what is in a ref of an object. */

function refsOf(value, ...names) {
    return Object.fromEntries(names.map(
        (name) => [name, computed(() => value.value[name])]));
}

/* Refs of messages, state and error, and publish() */

export function useChannel(hub, name, options) {
    const value = useLive((...args) => live.messages(hub, ...args), {},
                          name, options);

    return { ...refsOf(value, "messages", "state", "error"),
             publish: (...args) => hub.channel(toValue(name))
                 .publish(...args) };
}

/* A ref of the members; with data, this client is one of them. */

export function usePresence(hub, name, data) {
    return useLive((...args) => live.members(hub, ...args), [], name, data);
}

/* Refs of fields, version, pending and conflict, and set() */

export function useRecord(hub, name, id) {
    const value = useLive((...args) => live.record(hub, ...args), {}, name, id);

    return { ...refsOf(value, "fields", "version", "pending", "conflict"),
             set: (...args) => hub.channel(toValue(name)).record(toValue(id))
                 .set(...args) };
}
