/*
 * Tabs of a real Chromium for a test in Perl (t/lib/Fanout/Tabs.pm): reads a
 * command a line from stdin, {"tab":NAME,"do":VERB,...}, and answers each by a
 * line: {"ok":VALUE} or {"error":TEXT}.
 *
 * Every tab is a browser context of its own, so no two share connections
 * or storage.
 */

"use strict";

const { createInterface } = require("readline");
const { chromium } = require("playwright-core");

const flags = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update",
    "--disable-sync"
];

const timeout = 10000 * (process.env.TEST_TIMEOUT_SCALE || 1);

const tabs = new Map();                 // name: { page, errors }
let browser;


const verbs = {

    async open({ tab, url, width, height, scheme }) {
        await verbs.close({ tab });

        const context = await browser.newContext({
            viewport: { width: width || 1000, height: height || 800 },
            colorScheme: scheme || "light",
            ignoreHTTPSErrors: true
        });

        context.setDefaultTimeout(timeout);

        const page = await context.newPage();
        const errors = [];

        page.on("pageerror", (e) => errors.push(String(e)));
        page.on("console", (m) => {
            if (m.type() === "error" || m.type() === "warning") {
                errors.push(m.type() + ": " + m.text());
            }
        });

        tabs.set(tab, { page, errors });

        await page.goto(url);
    },

    async close({ tab }) {
        if (tabs.has(tab)) {
            await tabs.get(tab).page.context().close();
            tabs.delete(tab);
        }
    },

    // true, or false when the text didn't come

    async wait({ page, selector, text }) {
        const found = page.locator(selector, { hasText: text }).first();

        return found.waitFor().then(() => true, () => false);
    },

    async fill({ page, selector, text }) {
        await page.fill(selector, text);
    },

    async click({ page, selector }) {
        await page.click(selector);
    },

    async press({ page, selector, key }) {
        await page.press(selector, key);
    },

    async texts({ page, selector }) {
        return page.locator(selector).allTextContents();
    },

    // an expression; its value

    async evaluate({ page, code }) {
        return page.evaluate(code);
    },

    async resize({ page, width, height }) {
        await page.setViewportSize({ width, height });
    },

    async screenshot({ page, path, full }) {
        await page.screenshot({ path, fullPage: !!full });
    },

    // what axe-core calls serious or worse, with where it is

    async axe({ page }) {
        await page.addScriptTag({ path: require.resolve("axe-core") });

        const { violations } = await page.evaluate("axe.run()");

        return violations.filter(({ impact }) => /serious|crit/.test(impact))
            .map((v) => v.id + ": " + v.nodes.map((n) => n.html).join(" "));
    },

    async errors({ tab }) {
        return tabs.get(tab).errors;
    }
};


async function run(command) {
    const opened = tabs.get(command.tab);

    return verbs[command.do]({ page: opened && opened.page, ...command });
}

async function main() {
    browser = await chromium.launch({
        executablePath: process.env.TEST_CHROMIUM || "/usr/bin/chromium",
        args: flags
    });

    for await (const line of createInterface({ input: process.stdin })) {
        let answer;

        try {
            answer = { ok: await run(JSON.parse(line)) };

        } catch (e) {
            answer = { error: String(e.message || e) };
        }

        process.stdout.write(JSON.stringify(answer) + "\n");
    }

    await browser.close();
}

main().catch((e) => {
    process.stdout.write(JSON.stringify({ error: String(e) }) + "\n");
    process.exit(1);
});
