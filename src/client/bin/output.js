/*
 * What is written. What others have published may have control characters, for
 * a terminal to obey, or that show a text as another one. They are written as
 * \uXXXX, which is the same text in JSON. Joiners, which emoji need, are not
 * among them.
 */

const RISKY = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

function escaped(c) {
    return Array.from({ length: c.length }, (_, i) => "\\u"
        + c.charCodeAt(i).toString(16).padStart(4, "0")).join("");
}

export function clean(text) {
    return String(text).replace(RISKY, escaped);
}

export function json(value) {
    return JSON.stringify(value).replace(RISKY, escaped);
}

/* A word of a line, which can't be taken for several. */

export function word(text) {
    return /^[^\s"\\]+$/.test(text) ? clean(text) : json(String(text));
}

/* What is ours, or clean. */

export function print(text) {
    process.stdout.write(text);
}

export function complain(text) {
    process.stderr.write("fanout: " + clean(text) + "\n");
}

complain.raw = (text) => process.stderr.write(text);

/* A reader that has enough, as head has, is no error. */

export function onPipeEnd(end) {
    process.stdout.on("error", (e) => {
        if (e.code === "EPIPE") {
            end();

        } else {
            complain(e.message);
            process.exit(1);
        }
    });
    process.stderr.on("error", () => {});
}

const colored = process.stdout.isTTY && !process.env.NO_COLOR
                && process.env.TERM !== "dumb";

function dim(text) {
    return colored ? `\x1b[2m${text}\x1b[0m` : text;
}

/*
 * One line for one object: as JSON, or for people: its time, words that say
 * what it is, and its data. Absent words are left out.
 */

export function printer(format) {
    if (format === "json") {
        return (object) => print(json(object) + "\n");
    }

    return (object, words, data, time = Date.now()) => {
        const at = new Date(time);
        const clock = Number.isNaN(at.getTime()) ? "?"
                      : at.toTimeString().slice(0, 8);
        const said = words.filter((w) => w !== undefined && w !== "").map(word);

        print([dim(clock), ...said,
               ...data === undefined ? [] : [json(data)]].join(" ") + "\n");
    };
}
