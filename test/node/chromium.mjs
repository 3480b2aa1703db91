// Chromium for scripts that drive pages.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

// launch starts a browser, which is to be closed. Whoever runs the script ends its standard input to end it before its time. The exit
// kills the browser; one that is driven over a pipe ends also when this process is killed.
export async function launch(chromium) {
  const profile = mkdtempSync(join(tmpdir(), "belfry-"));
  process.stdin.on("end", () => process.exit(1)).resume();
  const browser = await puppeteer.launch({
    executablePath: chromium,
    userDataDir: profile,
    pipe: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  process.on("exit", () => rmSync(profile, { recursive: true, force: true, maxRetries: 10 })); // after puppeteer's, which kills the browser
  return browser;
}
