/** Types of client.js for the page. */

export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
}

export interface RequestOptions {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  base?: string;
  key?: string;
  signal?: AbortSignal;
}

export class AgentError extends Error {
  constructor(message: string, problem?: ProblemDetails | null);
  readonly problem: ProblemDetails | null;
  readonly status: number;
}

export function setKey(key: string): void;
export function request(path: string, options?: RequestOptions): Promise<Response>;
export function followThread(
  threadId: string,
  onEvent: (event: unknown) => void,
  options?: { after?: number; signal?: AbortSignal; onConnection?: (connected: boolean) => void },
): Promise<void>;
