// Made from /openapi.json by `npm run types`.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        Error: {
            /** @description Error code */
            code?: number;
            /** @description Error name */
            status?: string;
            /** @description Error message */
            message?: string;
            /** @description Errors */
            errors?: {
                [key: string]: unknown;
            };
        };
        PaginationMetadata: {
            /** @description Total number of items. */
            total?: number;
            /** @description Total number of pages. */
            total_pages?: number;
            /** @description First available page number. */
            first_page?: number;
            /** @description Last available page number. */
            last_page?: number;
            /** @description Current page number. */
            page?: number;
            /** @description Previous page number. */
            previous_page?: number;
            /** @description Next page number. */
            next_page?: number;
        };
        Job: {
            /** Format: uuid */
            jobId: string;
            /** @enum {string} */
            status: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";
            /** @description Grows by one at every change; the cursor of every transport */
            version: number;
            /** @description Per cent; never goes back within an attempt */
            progress: number;
            totalFiles: number | null;
            processedFiles: number | null;
            totalBytes: number | null;
            processedBytes: number | null;
            /** @description Null: the jobs of all users take turns, so no number of jobs in front would be true */
            queuePosition: number | null;
            /** @description As of updatedAt */
            estimatedSecondsRemaining: number | null;
            /** Format: date-time */
            estimatedCompletion: string | null;
            /**
             * Format: uri
             * @description Signed for this answer: a credential
             */
            downloadUrl: string | null;
            /**
             * Format: date-time
             * @description When downloadUrl ends
             */
            expiresAt: string | null;
            fileName: string | null;
            /** @description Bytes */
            fileSize: number | null;
            contentType: string | null;
            /** @description crc32: and 8 hexadecimal digits */
            checksum: string | null;
            /** @description Why the newest attempt failed */
            error: string | null;
            errorCode: string | null;
            retryable: boolean | null;
            retriesRemaining: number | null;
            /** @description 0 before the first */
            attempt: number;
            maxAttempts: number;
            /**
             * Format: date-time
             * @description When a failed attempt is tried again
             */
            retryAt: string | null;
            /** @enum {string} */
            priority: "high" | "normal" | "low";
            /** @description As it was sent */
            metadata: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            startedAt: string | null;
            /** Format: date-time */
            updatedAt: string;
            /** Format: date-time */
            completedAt: string | null;
        };
        Problem: {
            /** Format: uri-reference */
            type: string;
            title: string;
            status: number;
            detail: string;
            /** Format: uri-reference */
            instance: string;
            /** @description Stable, for programs */
            code: string;
            /** @description The same call may succeed later */
            retryable: boolean;
            requestId: string | null;
            /** @description Member or parameter -> what is wrong */
            errors?: {
                [key: string]: string[];
            };
            /** @description The job, where its state is the reason */
            job?: components["schemas"]["Job"];
        };
        Initiate: {
            /** @description The files, duplicates folded */
            file_ids?: number[];
            /** @description A single file, instead of file_ids */
            file_id?: number;
            /**
             * @default normal
             * @enum {unknown}
             */
            priority: "high" | "normal" | "low";
            /**
             * @description What to do with a file that does not exist
             * @default fail
             * @enum {unknown}
             */
            onMissing: "fail" | "skip";
            /**
             * @description Name of the archive; a single file keeps its own
             * @default null
             */
            fileName: string | null;
            /**
             * Format: uri
             * @description Gets one signed POST when the job is finished
             * @default null
             */
            callbackUrl: string | null;
            /** @description Echoed back; at most 4 KiB */
            metadata?: Record<string, never>;
        } & (unknown | unknown);
        Accepted: {
            /** Format: uuid */
            jobId: string;
            /** @enum {string} */
            status: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";
            /** @description Grows by one at every change; the cursor of every transport */
            version: number;
            /** @description Per cent; never goes back within an attempt */
            progress: number;
            totalFiles: number | null;
            processedFiles: number | null;
            totalBytes: number | null;
            processedBytes: number | null;
            /** @description Null: the jobs of all users take turns, so no number of jobs in front would be true */
            queuePosition: number | null;
            /** @description As of updatedAt */
            estimatedSecondsRemaining: number | null;
            /** Format: date-time */
            estimatedCompletion: string | null;
            /**
             * Format: uri
             * @description Signed for this answer: a credential
             */
            downloadUrl: string | null;
            /**
             * Format: date-time
             * @description When downloadUrl ends
             */
            expiresAt: string | null;
            fileName: string | null;
            /** @description Bytes */
            fileSize: number | null;
            contentType: string | null;
            /** @description crc32: and 8 hexadecimal digits */
            checksum: string | null;
            /** @description Why the newest attempt failed */
            error: string | null;
            errorCode: string | null;
            retryable: boolean | null;
            retriesRemaining: number | null;
            /** @description 0 before the first */
            attempt: number;
            maxAttempts: number;
            /**
             * Format: date-time
             * @description When a failed attempt is tried again
             */
            retryAt: string | null;
            /** @enum {string} */
            priority: "high" | "normal" | "low";
            /** @description As it was sent */
            metadata: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            startedAt: string | null;
            /** Format: date-time */
            updatedAt: string;
            /** Format: date-time */
            completedAt: string | null;
            message: string;
            /** @description Without duplicates */
            totalFileIds: number;
            /** @description An identical request was in flight: this is its job */
            deduplicated: boolean;
            /** Format: uri */
            statusUrl: string;
            /**
             * Format: uri
             * @description Server-sent events
             */
            subscribeUrl: string;
            /** Format: uri */
            webSocketUrl: string;
            /** Format: uri */
            resultUrl: string;
            /** Format: uri */
            cancelUrl: string;
            /** @description Milliseconds */
            pollingInterval: number;
        };
        File: {
            file_id: number;
        };
        Check: {
            file_id: number;
            available: boolean;
            /** @description Bytes */
            size: number | null;
            fileName: string | null;
        };
        Event: {
            /** @description The version of the job */
            id: string;
            /** @enum {string} */
            event: "connected" | "progress" | "retrying" | "completed" | "failed" | "cancelled" | "expired" | "heartbeat" | "message";
            /** @description A job with its timestamp, as JSON */
            data: string;
        };
        FileReport: {
            file_id: number;
            /** @enum {string} */
            state: "pending" | "done" | "missing" | "failed";
            /** @description Bytes */
            size: number | null;
            fileName: string | null;
            error: string | null;
            errorCode: string | null;
        };
        Files: {
            /** Format: uuid */
            jobId: string;
            totalFiles: number;
            files: components["schemas"]["FileReport"][];
            /** @description Null on the last page */
            nextCursor: string | null;
        };
        Result: {
            /**
             * Format: uri
             * @description Signed for this answer: a credential
             */
            downloadUrl: string;
            /** Format: date-time */
            expiresAt: string;
            fileName: string;
            /** @description Bytes */
            fileSize: number;
            contentType: string;
        };
        Cancelled: {
            /** Format: uuid */
            jobId: string;
            /** @enum {string} */
            status: "cancelled";
            message: string;
        };
        Jobs: {
            jobs: components["schemas"]["Job"][];
            /** @description Null on the last page */
            nextCursor: string | null;
        };
        DeliveryAttempt: {
            /** @description 1 for the first */
            attempt: number;
            /** Format: date-time */
            at: string;
            durationMs: number;
            /** @description The receiver's HTTP status; null where it gave no answer */
            status: number | null;
            /**
             * @description Why there was no answer
             * @enum {string|null}
             */
            error: "refused" | "unreachable" | "timeout" | "tls" | "protocol" | null;
        };
        Delivery: {
            /** @description The same in every attempt */
            webhookId: string;
            type: string;
            /** @description The job's, when it entered the state */
            version: number;
            /** @enum {string} */
            state: "pending" | "delivered" | "gone" | "failed";
            /** Format: date-time */
            nextAttemptAt: string | null;
            attempts: components["schemas"]["DeliveryAttempt"][];
        };
        Deliveries: {
            /** Format: uuid */
            jobId: string;
            deliveries: components["schemas"]["Delivery"][];
        };
        Lanes: {
            high: number;
            normal: number;
            low: number;
        };
        Durations: {
            p50: number | null;
            p95: number | null;
            p99: number | null;
        };
        Statistics: {
            waiting: components["schemas"]["Lanes"];
            totalWaiting: number;
            /** @description Null when none waits */
            oldestWaitSeconds: number | null;
            processing: number;
            /** @description Failed attempts that will be tried again */
            retrying: number;
            /** @description Since the store began */
            completed: number;
            /** @description Since the store began */
            failed: number;
            /** @description Since the store began */
            cancelled: number;
            deadLetters: number;
            /** @description Whether operators let no job begin */
            paused: boolean;
            /** @description Worker processes that showed a sign of life */
            workers: number;
            durations: components["schemas"]["Durations"];
            /** @description completed / (completed + failed) */
            successRate: number | null;
        };
        WorkerJob: {
            /** Format: uuid */
            jobId: string;
            /** @description Whose job it is */
            userId: string;
            /** @enum {string} */
            priority: "high" | "normal" | "low";
            attempt: number;
            progress: number;
            totalFiles: number;
            processedFiles: number;
            totalBytes: number | null;
            processedBytes: number | null;
            /** @description As of the job's last change */
            estimatedSecondsRemaining: number | null;
            /** Format: date-time */
            startedAt: string | null;
        };
        Worker: {
            /** @description The same in logs and in the attempts of a job */
            workerId: string;
            /** @description The machine's name */
            host: string;
            /**
             * Format: date-time
             * @description Its first sign of life
             */
            since: string | null;
            /** @description Jobs that it may run at once */
            slots: number;
            jobs: components["schemas"]["WorkerJob"][];
        };
        Workers: {
            workers: components["schemas"]["Worker"][];
        };
        FailedJob: {
            /** Format: uuid */
            jobId: string;
            /** @description Whose job it is */
            userId: string;
            error: string | null;
            errorCode: string | null;
            /** @description A further attempt might help */
            retryable: boolean | null;
            attempt: number;
            /**
             * Format: date-time
             * @description When it failed
             */
            completedAt: string | null;
        };
        Overview: {
            workers: components["schemas"]["Worker"][];
            statistics: components["schemas"]["Statistics"];
            /** @description Of all users, newest first */
            failures: components["schemas"]["FailedJob"][];
            /**
             * Format: date-time
             * @description When it was read
             */
            timestamp: string;
        };
        OverviewEvent: {
            /** @description Counts the readings of this process */
            id: string;
            /** @enum {string} */
            event: "overview";
            /** @description An overview as JSON */
            data: string;
        };
        HourDurations: {
            p50: number | null;
            p95: number | null;
            p99: number | null;
        };
        Hour: {
            /** Format: date-time */
            start: string;
            created: number;
            completed: number;
            failed: number;
            cancelled: number;
            /** @description Attempts that failed and were tried again */
            retried: number;
            /** @description Of the archives completed */
            bytes: number;
            /** @description completed / (completed + failed); null while none ended */
            successRate: number | null;
            durations: components["schemas"]["HourDurations"];
        };
        Analytics: {
            hours: components["schemas"]["Hour"][];
        };
        Change: {
            version: number;
            /** @enum {string} */
            status: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";
            attempt: number;
            worker: string | null;
            errorCode: string | null;
            /** Format: date-time */
            at: string;
        };
        RecordedAttempt: {
            /** @description Counts anew after a retry by hand */
            attempt: number | null;
            worker: string | null;
            /** Format: date-time */
            startedAt: string | null;
            /** Format: date-time */
            endedAt: string | null;
            /**
             * @description The state that the job went into
             * @enum {string|null}
             */
            outcome: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired" | null;
            errorCode: string | null;
            error: string | null;
        };
        RecordedFile: {
            file_id: number;
            /** @enum {string} */
            state: "pending" | "done" | "missing" | "failed";
            /** @description Bytes */
            size: number | null;
            fileName: string | null;
            errorCode: string | null;
        };
        RecordedDelivery: {
            /** @description Of the state that it told of */
            version: number;
            attempt: number;
            /** Format: date-time */
            at: string;
            durationMs: number;
            /** @description The receiver's HTTP status */
            status: number | null;
            error: string | null;
            /** @description What became of the webhook by it */
            state: string;
        };
        Dossier: {
            job: components["schemas"]["Job"];
            user: string;
            changes: components["schemas"]["Change"][];
            attempts: components["schemas"]["RecordedAttempt"][];
            files: components["schemas"]["RecordedFile"][];
            deliveries: components["schemas"]["RecordedDelivery"][];
        };
        FailedAttempt: {
            /** @description Begins anew at 1 when a dead letter is requeued */
            attempt: number;
            worker: string | null;
            /** Format: date-time */
            startedAt: string | null;
            /** Format: date-time */
            endedAt: string;
            errorCode: string | null;
            error: string | null;
        };
        DeadLetter: {
            job: components["schemas"]["Job"];
            /** @description Whose job it is */
            userId: string;
            /** Format: date-time */
            since: string;
            attempts: components["schemas"]["FailedAttempt"][];
        };
        DeadLetters: {
            deadLetters: components["schemas"]["DeadLetter"][];
            /** @description Null on the last page */
            nextCursor: string | null;
        };
        Paused: {
            paused: boolean;
        };
        Health: {
            /** @enum {string} */
            status: "healthy" | "unhealthy";
            checks: {
                [key: string]: "ok" | "unavailable" | "timeout" | "off";
            };
            /** @description What the object storage can do, once a worker has tried */
            storage?: {
                [key: string]: boolean;
            };
        };
        Alive: {
            /** @enum {string} */
            status: "alive";
        };
        About: {
            message: string;
            version: string;
            docs: string;
        };
        JobEvent: {
            /** Format: uuid */
            jobId: string;
            /** @enum {string} */
            status: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";
            /** @description Grows by one at every change; the cursor of every transport */
            version: number;
            /** @description Per cent; never goes back within an attempt */
            progress: number;
            totalFiles: number | null;
            processedFiles: number | null;
            totalBytes: number | null;
            processedBytes: number | null;
            /** @description Null: the jobs of all users take turns, so no number of jobs in front would be true */
            queuePosition: number | null;
            /** @description As of updatedAt */
            estimatedSecondsRemaining: number | null;
            /** Format: date-time */
            estimatedCompletion: string | null;
            /**
             * Format: uri
             * @description Signed for this answer: a credential
             */
            downloadUrl: string | null;
            /**
             * Format: date-time
             * @description When downloadUrl ends
             */
            expiresAt: string | null;
            fileName: string | null;
            /** @description Bytes */
            fileSize: number | null;
            contentType: string | null;
            /** @description crc32: and 8 hexadecimal digits */
            checksum: string | null;
            /** @description Why the newest attempt failed */
            error: string | null;
            errorCode: string | null;
            retryable: boolean | null;
            retriesRemaining: number | null;
            /** @description 0 before the first */
            attempt: number;
            maxAttempts: number;
            /**
             * Format: date-time
             * @description When a failed attempt is tried again
             */
            retryAt: string | null;
            /** @enum {string} */
            priority: "high" | "normal" | "low";
            /** @description As it was sent */
            metadata: {
                [key: string]: unknown;
            };
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            startedAt: string | null;
            /** Format: date-time */
            updatedAt: string;
            /** Format: date-time */
            completedAt: string | null;
            /**
             * Format: date-time
             * @description When it was sent
             */
            timestamp: string;
        };
    };
    responses: {
        /** @description IDEMPOTENCY_KEY_REUSED: the key came before with another request */
        Problem422: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description BODY_TOO_LARGE */
        Problem413: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description UNSUPPORTED_MEDIA_TYPE: the body has to be application/json */
        Problem415: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description JOB_NOT_FOUND or HISTORY_OFF */
        Problem404: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The job's state does not allow this */
        Problem409: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description JOB_CANCELLED or JOB_EXPIRED: there is no archive */
        Problem410: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description FORBIDDEN: this job is another's, or the call is for operators */
        Problem403: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description VALIDATION_ERROR or MALFORMED_JSON */
        Problem400: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description RATE_LIMIT_EXCEEDED or TOO_MANY_ACTIVE_JOBS */
        Problem429: {
            headers: {
                "Retry-After": components["headers"]["Retry-After"];
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description INTERNAL_ERROR */
        Problem500: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description BACKEND_UNAVAILABLE or QUEUE_FULL */
        Problem503: {
            headers: {
                "Retry-After": components["headers"]["Retry-After"];
                "X-Request-ID": components["headers"]["X-Request-ID"];
                "RateLimit-Limit": components["headers"]["RateLimit-Limit"];
                "RateLimit-Remaining": components["headers"]["RateLimit-Remaining"];
                "RateLimit-Reset": components["headers"]["RateLimit-Reset"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: {
        /** @description The same key and request within 24 h get the first answer again */
        "Idempotency-Key": string;
        /** @description wait=N (RFC 7240): answer when the job is finished, or after N seconds (at most 60) */
        Prefer: string;
        /** @description The version of the last event received */
        "Last-Event-ID": string;
        /** @description The ETag that the client has */
        "If-None-Match": string;
        /** @description Who calls, for limits and lists */
        "X-User-Id": string;
    };
    requestBodies: never;
    headers: {
        /** @description The request's own, if sane, else a UUID */
        "X-Request-ID": string;
        /** @description Requests a minute */
        "RateLimit-Limit": number;
        /** @description Of these, how many are left */
        "RateLimit-Remaining": number;
        /** @description Seconds until it starts anew */
        "RateLimit-Reset": number;
        /** @description RFC 6750 */
        "WWW-Authenticate": string;
        /** @description Seconds */
        "Retry-After": number;
        /** @description Where to go on */
        Location: string;
        /** @description The wait that was granted */
        "Preference-Applied": string;
        /** @description The key was used before */
        "Idempotent-Replayed": "true";
        "Cache-Control": string;
        /** @description The version, quoted */
        ETag: string;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
