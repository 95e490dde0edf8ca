/*
 * node frameworks.js NAME FILE OUT: bundles a component of React, Vue or
 * Svelte, with src/client, as OUT. window.there(is) mounts or unmounts it.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [name, file, out] = process.argv.slice(2);
const modules = process.env.CLIENT_MODULES;
const client = fileURLToPath(new URL("../../src/client", import.meta.url));
const { exports } = JSON.parse(readFileSync(client + "/package.json"));
const need = createRequire(pathToFileURL(modules + "/x"));

const ENTRIES = {
    react: `
        import { StrictMode, useState } from "react";
        import { createRoot } from "react-dom/client";
        import App from "component";

        function Page() {
            const [there, set] = useState(true);

            window.there = set;
            return there ? <App /> : null;
        }

        createRoot(document.querySelector("main")).render(
            <StrictMode><Page /></StrictMode>);
    `,
    vue: `
        import { createApp, h, ref } from "vue";
        import App from "component";

        const there = ref(true);

        window.there = (is) => there.value = is;
        createApp({ render: () => there.value ? h(App) : null })
            .mount("main");
    `,
    svelte: `
        import { mount, unmount } from "svelte";
        import App from "component";

        let app;

        window.there = (is) => is
            ? app = mount(App, { target: document.querySelector("main") })
            : void unmount(app);
        window.there(true);
    `,
};

const compile = {
    vue(source) {
        const { compileScript, parse } = need("vue/compiler-sfc");
        const { descriptor } = parse(source);

        return compileScript(descriptor, { id: "x", inlineTemplate: true })
            .content;
    },
    svelte(source) {
        const svelte = need("svelte/compiler");

        return svelte.compile(source, { generate: "client" }).js.code;
    },
    react: (source) => source,
};

const parts = {
    name: "parts",
    setup(build) {
        build.onResolve({ filter: /^component$/ }, () => ({ path: file }));
        build.onResolve({ filter: /^nginx-fanout-client/ }, ({ path }) => ({
            path: resolve(client, exports[
                path.replace("nginx-fanout-client", ".")].default),
        }));
        build.onLoad({ filter: /\/component\.\w+$/ }, ({ path }) => ({
            contents: compile[name](readFileSync(path, "utf8")),
            loader: "jsx", resolveDir: dirname(path),
        }));
    },
};

const esbuild = need("esbuild");

await esbuild.build({
    stdin: { contents: ENTRIES[name], loader: "jsx", resolveDir: client },
    bundle: true, format: "iife", outfile: out, nodePaths: [modules],
    plugins: [parts], jsx: "automatic", conditions: ["browser"],
    define: {
        "process.env.NODE_ENV": '"development"',
        __VUE_OPTIONS_API__: "true", __VUE_PROD_DEVTOOLS__: "false",
        __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    },
});
