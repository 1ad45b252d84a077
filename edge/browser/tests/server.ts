/** A server without a network: answers from a repository's files, and writes down what it was asked. */

import type { Fetch } from "../src/network.ts";
import type { Report } from "../src/reports.ts";
import type { Repository } from "./repository.ts";

const BASE = "https://edge.test/edge/v1/";

export class FakeServer {
  readonly url = BASE;
  readonly asked: string[] = [];
  readonly reports: Report[] = [];
  repository: Repository;
  /** The target that is offered, or the whole answer; null: 204. */
  offer: string | null = null;
  answer: string | null = null;
  online = true;

  constructor(repository: Repository) {
    this.repository = repository;
  }

  readonly fetch: Fetch = async (url, options) => {
    if (!this.online) throw new TypeError("Failed to fetch");
    const path = decodeURIComponent(url.slice(BASE.length));
    this.asked.push(path);
    if (path === "reports") {
      this.reports.push(...(JSON.parse(options.body as string) as { reports: Report[] }).reports);
      return new Response("{}", { status: 202 });
    }
    if (path.startsWith("models/")) {
      if (this.answer !== null) return new Response(this.answer);
      return this.offer === null ? new Response(null, { status: 204 }) : Response.json({ target: this.offer });
    }
    const bytes = this.repository.files.get(path);
    return bytes ? new Response(bytes) : new Response("no", { status: 404 });
  };
}
