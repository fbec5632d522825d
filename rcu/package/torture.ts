#!/usr/bin/env node
/** `sternix-rcu-torture`: the torture test as the package has it. */
import { tortureMain } from "../torture/cli.ts";

process.exitCode = await tortureMain(process.argv.slice(2), "sternix-rcu-torture");
