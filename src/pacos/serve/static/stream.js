/** Asks the server and yields the events of the answer as they come, one JSON object a line. */

export class Problem extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** POSTs JSON; throws a Problem with the server's own words when it refuses. */
export async function post(path, value, signal) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(value),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached. Check that it is running, then try again.", "unreachable");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Problem(body?.error?.message ?? `The server answered with an error (${response.status}).`, body?.error?.code);
}

/** Yields {type: "start" | "piece" | "end", …} until `ends` answers have ended; aborting `signal` closes the
 * connection, which frees the model. */
export async function* answerEvents(path, question, ends, signal) {
  const response = await post(path, question, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let open = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (open + value).split("\n");
      open = lines.pop();
      for (const line of lines) {
        const event = JSON.parse(line);
        if (event.type === "error") throw new Problem(event.message, "server_error");
        if (event.type === "end") ends -= 1;
        yield event;
      }
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Problem) throw error;
    throw new Problem("The connection broke before the answer ended. Try again.", "broken");
  }
  if (ends > 0) throw new Problem("The connection broke before the answer ended. Try again.", "broken");
}
