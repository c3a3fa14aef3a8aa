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
            /** @description Incremented by every change; the cursor of every transport */
            version: number;
            /** @description Percent; never decreases within an attempt */
            progress: number;
            totalFiles: number | null;
            processedFiles: number | null;
            totalBytes: number | null;
            processedBytes: number | null;
            /** @description Requested files that the archive lacks (onMissing: skip) */
            missingFiles: number;
            /** @description Estimated rank among waiting jobs of the same or a higher priority; 1 is next. Null if unknown, as while a retry waits */
            queuePosition: number | null;
            /** @description Until the job is finished; as of updatedAt, or of the response while it is queued */
            estimatedSecondsRemaining: number | null;
            /** Format: date-time */
            estimatedCompletion: string | null;
            /**
             * Format: uri
             * @description Signed for this response. Anyone who has the URL can download the archive.
             */
            downloadUrl: string | null;
            /**
             * Format: date-time
             * @description When downloadUrl stops working
             */
            expiresAt: string | null;
            /**
             * Format: date-time
             * @description When the archive expires and can no longer be downloaded
             */
            availableUntil: string | null;
            fileName: string | null;
            /** @description Bytes */
            fileSize: number | null;
            contentType: string | null;
            /** @description crc32: followed by 8 hexadecimal digits */
            checksum: string | null;
            /** @description Why the latest attempt failed */
            error: string | null;
            errorCode: string | null;
            retryable: boolean | null;
            /** @description maxAttempts - attempt; 0 if the error is not retryable */
            retriesRemaining: number | null;
            /** @description The number of the current or latest attempt; 0 before the first */
            attempt: number;
            /** @description The first attempt and all retries */
            maxAttempts: number;
            /**
             * Format: date-time
             * @description When the next attempt is due
             */
            retryAt: string | null;
            /** @enum {string} */
            priority: "high" | "normal" | "low";
            /** @description As sent in the request */
            metadata: {
                [key: string]: unknown;
            };
            /** @description How often resultUrl or a link was used */
            downloads: number;
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
            /** @description Stable identifier of the error, for programs */
            code: string;
            /** @description Whether the same call may succeed later */
            retryable: boolean;
            requestId: string | null;
            /** @description What is wrong, by field or parameter */
            errors?: {
                [key: string]: string[];
            };
            /** @description The files that you don't have permission to download */
            file_ids?: number[];
            /**
             * Format: date-time
             * @description When the quota resets
             */
            resetAt?: string;
            /** @description The job, if its state is the reason for the error */
            job?: components["schemas"]["Job"];
        };
        Initiate: {
            /**
             * @description Optional: your user ID. A request that names another user gets 403
             * @default null
             */
            user_id: string | number | null;
            /** @description The files; duplicates are ignored */
            file_ids?: number[];
            /** @description A single file, instead of file_ids */
            file_id?: number;
            /** @description Files with their paths in the archive, instead of file_ids. A file may have several paths; the same file with the same path again is ignored */
            files?: {
                file_id: number;
                /**
                 * @description Where the file goes in the archive, with / between folders. A path that ends in / is a folder in which the file keeps its own name. Without a path, the file is at the top. Unsafe parts, such as .., are left out.
                 * @example 2026/reports/april.pdf
                 * @example 2026/reports/
                 */
                path?: string | null;
            }[];
            /**
             * @description Add MANIFEST.json to the archive, which lists its files with sizes and checksums. With onMissing: skip it is always there
             * @default false
             */
            manifest: boolean;
            /**
             * @description Defaults to normal, or if your plan does not allow it, to the highest priority that it allows
             * @enum {unknown}
             */
            priority?: "high" | "normal" | "low";
            /**
             * @description What to do if a file does not exist
             * @default fail
             * @enum {unknown}
             */
            onMissing: "fail" | "skip";
            /**
             * @description Name of the archive; a single file keeps its own name
             * @default null
             */
            fileName: string | null;
            /**
             * Format: uri
             * @description Receives a signed POST when the job is finished, and another one when its archive expires
             * @default null
             */
            callbackUrl: string | null;
            /** @description Echoed back; at most 4 KiB */
            metadata?: Record<string, never>;
            /**
             * @description Seconds after the job's completion until the archive is deleted; by default as long as the service allows
             * @default null
             */
            expiresIn: number | null;
        } & (unknown | unknown | unknown);
        Accepted: {
            /** Format: uuid */
            jobId: string;
            /** @enum {string} */
            status: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";
            /** @description Incremented by every change; the cursor of every transport */
            version: number;
            /** @description Percent; never decreases within an attempt */
            progress: number;
            totalFiles: number | null;
            processedFiles: number | null;
            totalBytes: number | null;
            processedBytes: number | null;
            /** @description Requested files that the archive lacks (onMissing: skip) */
            missingFiles: number;
            /** @description Estimated rank among waiting jobs of the same or a higher priority; 1 is next. Null if unknown, as while a retry waits */
            queuePosition: number | null;
            /** @description Until the job is finished; as of updatedAt, or of the response while it is queued */
            estimatedSecondsRemaining: number | null;
            /** Format: date-time */
            estimatedCompletion: string | null;
            /**
             * Format: uri
             * @description Signed for this response. Anyone who has the URL can download the archive.
             */
            downloadUrl: string | null;
            /**
             * Format: date-time
             * @description When downloadUrl stops working
             */
            expiresAt: string | null;
            /**
             * Format: date-time
             * @description When the archive expires and can no longer be downloaded
             */
            availableUntil: string | null;
            fileName: string | null;
            /** @description Bytes */
            fileSize: number | null;
            contentType: string | null;
            /** @description crc32: followed by 8 hexadecimal digits */
            checksum: string | null;
            /** @description Why the latest attempt failed */
            error: string | null;
            errorCode: string | null;
            retryable: boolean | null;
            /** @description maxAttempts - attempt; 0 if the error is not retryable */
            retriesRemaining: number | null;
            /** @description The number of the current or latest attempt; 0 before the first */
            attempt: number;
            /** @description The first attempt and all retries */
            maxAttempts: number;
            /**
             * Format: date-time
             * @description When the next attempt is due
             */
            retryAt: string | null;
            /** @enum {string} */
            priority: "high" | "normal" | "low";
            /** @description As sent in the request */
            metadata: {
                [key: string]: unknown;
            };
            /** @description How often resultUrl or a link was used */
            downloads: number;
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
            /** @description True if an identical request was already running: this is its job */
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
            /**
             * @description Optional: your user ID. A request that names another user gets 403
             * @default null
             */
            user_id: string | number | null;
            file_id: number;
        };
        CheckFiles: {
            /**
             * @description Optional: your user ID. A request that names another user gets 403
             * @default null
             */
            user_id: string | number | null;
            file_id?: number;
            /** @description Several files; duplicates are ignored */
            file_ids?: number[];
        };
        Check: {
            file_id: number;
            available: boolean;
            /** @description Bytes */
            size: number | null;
            fileName: string | null;
        };
        Event: {
            /** @description The version of the job; absent in `connected` of a finished job */
            id?: string;
            /** @enum {string} */
            event: "connected" | "progress" | "retrying" | "completed" | "failed" | "cancelled" | "expired" | "heartbeat" | "message";
            /** @description A job with a timestamp, as JSON */
            data: string;
        };
        JobMembers: {
            /** Format: uuid */
            jobId?: string;
            /** @enum {string} */
            status?: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";
            /** @description Incremented by every change; the cursor of every transport */
            version?: number;
            /** @description Percent; never decreases within an attempt */
            progress?: number;
            totalFiles?: number | null;
            processedFiles?: number | null;
            totalBytes?: number | null;
            processedBytes?: number | null;
            /** @description Requested files that the archive lacks (onMissing: skip) */
            missingFiles?: number;
            /** @description Estimated rank among waiting jobs of the same or a higher priority; 1 is next. Null if unknown, as while a retry waits */
            queuePosition?: number | null;
            /** @description Until the job is finished; as of updatedAt, or of the response while it is queued */
            estimatedSecondsRemaining?: number | null;
            /** Format: date-time */
            estimatedCompletion?: string | null;
            /**
             * Format: uri
             * @description Signed for this response. Anyone who has the URL can download the archive.
             */
            downloadUrl?: string | null;
            /**
             * Format: date-time
             * @description When downloadUrl stops working
             */
            expiresAt?: string | null;
            /**
             * Format: date-time
             * @description When the archive expires and can no longer be downloaded
             */
            availableUntil?: string | null;
            fileName?: string | null;
            /** @description Bytes */
            fileSize?: number | null;
            contentType?: string | null;
            /** @description crc32: followed by 8 hexadecimal digits */
            checksum?: string | null;
            /** @description Why the latest attempt failed */
            error?: string | null;
            errorCode?: string | null;
            retryable?: boolean | null;
            /** @description maxAttempts - attempt; 0 if the error is not retryable */
            retriesRemaining?: number | null;
            /** @description The number of the current or latest attempt; 0 before the first */
            attempt?: number;
            /** @description The first attempt and all retries */
            maxAttempts?: number;
            /**
             * Format: date-time
             * @description When the next attempt is due
             */
            retryAt?: string | null;
            /** @enum {string} */
            priority?: "high" | "normal" | "low";
            /** @description As sent in the request */
            metadata?: {
                [key: string]: unknown;
            };
            /** @description How often resultUrl or a link was used */
            downloads?: number;
            /** Format: date-time */
            createdAt?: string;
            /** Format: date-time */
            startedAt?: string | null;
            /** Format: date-time */
            updatedAt?: string;
            /** Format: date-time */
            completedAt?: string | null;
        };
        FileReport: {
            file_id: number;
            /** @enum {string} */
            state: "pending" | "done" | "missing" | "failed";
            /** @description Bytes */
            size: number | null;
            fileName: string | null;
            /** @description In the archive; the requested path until the file is done */
            path: string | null;
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
             * @description Signed for this response. Anyone who has the URL can download the archive.
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
        PlanLimits: {
            priorities: ("high" | "normal" | "low")[];
            /** @description Unfinished jobs */
            activeJobs: number;
            /** @description New jobs */
            createsPerMinute: number;
            /** @description Of completed archives; null: unlimited */
            bytesPerDay: number | null;
            /** @description Seconds for which archives are kept at most */
            retention: number;
        };
        UsageToday: {
            /** @description Bytes of the archives completed today; null without plans */
            bytes: number | null;
            /**
             * Format: date-time
             * @description When the quota resets
             */
            resetAt: string;
        };
        UsageOfDay: {
            /** Format: date */
            day: string;
            /** @description Created */
            jobs: number;
            completed: number;
            failed: number;
            cancelled: number;
            /** @description Of completed archives */
            bytes: number;
        };
        Usage: {
            /** @description Null if the service has no plans */
            plan: string | null;
            limits: components["schemas"]["PlanLimits"];
            today: components["schemas"]["UsageToday"];
            /** @description Oldest first, without days on which nothing happened; null without a history */
            days: components["schemas"]["UsageOfDay"][] | null;
        };
        LinkRequest: {
            /**
             * @description Seconds; the link ends with the archive at the latest
             * @default null
             */
            expiresIn: number | null;
            /**
             * @description Number of downloads
             * @default null
             */
            maxUses: number | null;
            /**
             * @description Address or network that may use the link
             * @default null
             */
            ip: string | null;
            /**
             * @description Name of the downloaded file
             * @default null
             */
            fileName: string | null;
        };
        Link: {
            /** @description Identifies the link among those of the job */
            linkId: string;
            /**
             * Format: uri
             * @description Only in the response that creates the link
             */
            url: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            expiresAt: string;
            /** @description Downloads so far */
            uses: number;
            maxUses: number | null;
            ip: string | null;
            fileName: string | null;
            /** Format: date-time */
            lastUsedAt: string | null;
            /** Format: date-time */
            revokedAt: string | null;
        };
        Links: {
            /** Format: uuid */
            jobId: string;
            links: components["schemas"]["Link"][];
        };
        SentHeaders: {
            /** @description The origin of callbackUrl */
            url: string;
            headers: {
                [key: string]: string;
            };
        };
        ReceivedHeaders: {
            headers: {
                [key: string]: string;
            };
        };
        DeliveryAttempt: {
            /** @description 1 for the first */
            attempt: number;
            /** Format: date-time */
            at: string;
            durationMs: number;
            /** @description HTTP status of the receiver; null if it did not respond */
            status: number | null;
            /**
             * @description Why there was no response
             * @enum {string|null}
             */
            error: "refused" | "unreachable" | "timeout" | "tls" | "protocol" | null;
            /** @description Of the latest attempts */
            request: components["schemas"]["SentHeaders"] | null;
            /** @description Of the latest attempts */
            response: components["schemas"]["ReceivedHeaders"] | null;
        };
        Delivery: {
            /** @description The same in every attempt */
            webhookId: string;
            type: string;
            /** @description Version of the job when it entered the state */
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
        Secret: {
            /** @description whsec_ and base64, as Standard Webhooks defines */
            secret: string;
            /** @description Incremented by every rotation */
            generation: number;
            /** Format: date-time */
            rotatedAt: string | null;
            /**
             * Format: date-time
             * @description Until then, webhooks have a signature by an earlier secret, too
             */
            earlierValidUntil: string | null;
        };
        Rotation: {
            /**
             * @description Seconds for which webhooks also have a signature by the earlier secret. Send 0 if others know that secret
             * @default 86400
             */
            overlap: number;
        };
        Replay: {
            /**
             * Format: date-time
             * @description Webhooks for states that jobs entered at this time or later
             */
            since: string;
            /**
             * @description Only webhooks in this state, such as `failed`
             * @default null
             * @enum {string|null}
             */
            state: "pending" | "delivered" | "gone" | "failed" | null;
        };
        Replayed: {
            replayed: number;
            /**
             * Format: date-time
             * @description Replay again from this time: there are more webhooks than one call handles
             */
            nextSince: string | null;
        };
        Priorities: {
            high: number;
            normal: number;
            low: number;
        };
        Durations: {
            /** @description The average */
            avg: number | null;
            p50: number | null;
            p95: number | null;
            p99: number | null;
        };
        Statistics: {
            waiting: components["schemas"]["Priorities"];
            totalWaiting: number;
            /** @description Null if no job is waiting */
            oldestWaitSeconds: number | null;
            processing: number;
            /** @description Jobs that wait for their next attempt */
            retrying: number;
            /** @description Since the job store was created; a job that is retried counts each time it ends */
            completed: number;
            /** @description Since the job store was created; a job that is retried counts each time it ends */
            failed: number;
            /** @description Since the job store was created; a job that is retried counts each time it ends */
            cancelled: number;
            deadLetters: number;
            /** @description True if an operator paused the queue */
            paused: boolean;
            /** @description Worker processes that are alive */
            workers: number;
            durations: components["schemas"]["Durations"];
            /** @description completed / (completed + failed); null if there are neither */
            successRate: number | null;
        };
        WorkerJob: {
            /** Format: uuid */
            jobId: string;
            /** @description The owner of the job */
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
            /** @description As in the logs and in the attempts of a job */
            workerId: string;
            /** @description Host name of the machine */
            host: string;
            /**
             * Format: date-time
             * @description When the worker registered
             */
            since: string | null;
            /** @description Number of jobs that it can run at the same time */
            slots: number;
            jobs: components["schemas"]["WorkerJob"][];
        };
        Workers: {
            workers: components["schemas"]["Worker"][];
        };
        Reason: {
            /** @description For programs; a later version may add others */
            code: string;
            /**
             * @description critical: no job runs; info: jobs wait, as they should
             * @enum {string}
             */
            level: "info" | "warning" | "critical";
            message: string;
        };
        Summary: {
            /**
             * @description The worst level of a reason
             * @enum {string}
             */
            level: "info" | "warning" | "critical";
            /** @description All well, or the worst reason */
            message: string;
            /**
             * Format: date-time
             * @description Since when no job has run, although some wait; null if unknown
             */
            idleSince: string | null;
            /** @description The worst first */
            reasons: components["schemas"]["Reason"][];
        };
        FailedJob: {
            /** Format: uuid */
            jobId: string;
            /** @description The owner of the job */
            userId: string;
            error: string | null;
            errorCode: string | null;
            /** @description Another attempt might succeed */
            retryable: boolean | null;
            attempt: number;
            /**
             * Format: date-time
             * @description When the job failed
             */
            completedAt: string | null;
        };
        Overview: {
            workers: components["schemas"]["Worker"][];
            summary: components["schemas"]["Summary"];
            statistics: components["schemas"]["Statistics"];
            /** @description Of all users, newest first */
            failures: components["schemas"]["FailedJob"][];
            /**
             * Format: date-time
             * @description When the overview was read
             */
            timestamp: string;
        };
        OverviewEvent: {
            /** @description A counter of this server process */
            id: string;
            /** @enum {string} */
            event: "overview";
            /** @description An overview as JSON */
            data: string;
        };
        HourDurations: {
            /** @description The average */
            avg: number | null;
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
            /** @description Failed attempts that were retried */
            retried: number;
            /** @description Total size of the completed archives */
            bytes: number;
            /** @description completed / (completed + failed); null if there are neither */
            successRate: number | null;
            durations: components["schemas"]["HourDurations"];
        };
        Analytics: {
            hours: components["schemas"]["Hour"][];
        };
        ListedJob: {
            /** Format: uuid */
            jobId: string;
            /** @description The owner of the job */
            userId: string;
            /** @enum {string} */
            status: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";
            version: number;
            /** @enum {string} */
            priority: "high" | "normal" | "low";
            /** @description Percent */
            progress: number;
            totalFiles: number;
            /** @description Bytes of the archive */
            fileSize: number | null;
            attempt: number;
            maxAttempts: number;
            /**
             * Format: date-time
             * @description When the next attempt is due
             */
            retryAt: string | null;
            /** @description The worker of the current or latest attempt */
            worker: string | null;
            error: string | null;
            errorCode: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            startedAt: string | null;
            /** Format: date-time */
            updatedAt: string;
            /** Format: date-time */
            completedAt: string | null;
        };
        ListedJobs: {
            jobs: components["schemas"]["ListedJob"][];
            /** @description Null on the last page */
            nextCursor: string | null;
            /**
             * @description Without the history, finished jobs are found only as long as the job store lists them
             * @enum {string}
             */
            history: "ok" | "off" | "unavailable";
            /** @description True if the job store has more jobs than one search reads, so that some may be missing */
            partial: boolean;
        };
        Change: {
            version: number;
            /** @enum {string} */
            status: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";
            attempt: number;
            worker: string | null;
            errorCode: string | null;
            /** @description Why a worker returned the job to the queue, or who changed its state */
            reason: string | null;
            /** Format: date-time */
            at: string;
        };
        RecordedAttempt: {
            /** @description Starts at 1 again after a manual retry */
            attempt: number | null;
            worker: string | null;
            /** Format: date-time */
            startedAt: string | null;
            /** Format: date-time */
            endedAt: string | null;
            /**
             * @description The state that the attempt left the job in
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
            /** @description Why the file is missing or failed */
            error: string | null;
        };
        RecordedDelivery: {
            /** @description The version of the job that was reported */
            version: number;
            attempt: number;
            /** Format: date-time */
            at: string;
            durationMs: number;
            /** @description HTTP status of the receiver */
            status: number | null;
            error: string | null;
            /** @description State of the webhook after this attempt */
            state: string;
        };
        RecordedDownload: {
            /** Format: date-time */
            at: string;
            /** @description The link; null: the job's own URL */
            linkId: string | null;
            /**
             * @description Of the client's address
             * @enum {string}
             */
            network: "public" | "private" | "unknown";
        };
        TimelineEntry: {
            /** Format: date-time */
            at: string;
            /** @enum {string} */
            kind: "state" | "webhook" | "link" | "operator";
            /** @description What happened: a state, or for other kinds one or two words */
            text: string;
            /** @description The version of the job */
            version: number | null;
            /** @description Of the job, or of the webhook */
            attempt: number | null;
            worker: string | null;
            errorCode: string | null;
            error: string | null;
            /** @description Why a worker returned the job to the queue, or who changed its state; the webhook's HTTP status, the link's ID, or the operator */
            detail: string | null;
        };
        ExploredJob: {
            job: components["schemas"]["Job"];
            user: string;
            changes: components["schemas"]["Change"][];
            attempts: components["schemas"]["RecordedAttempt"][];
            files: components["schemas"]["RecordedFile"][];
            deliveries: components["schemas"]["RecordedDelivery"][];
            /** @description Up to the first 1,000 */
            downloads: components["schemas"]["RecordedDownload"][];
            /** @description Oldest first */
            timeline: components["schemas"]["TimelineEntry"][];
            /** @description What an operator can do to the job now */
            actions: ("cancel" | "retry" | "requeue" | "prioritize")[];
            /** @description The worker of the current or latest attempt */
            worker: string | null;
            /** @description The trace of the request that created the job */
            traceId: string | null;
            /**
             * @description Without the history, some members are incomplete
             * @enum {string}
             */
            history: "ok" | "off" | "unavailable";
        };
        JobFilter: {
            /**
             * @description The owner of the job
             * @default null
             */
            user: string | null;
            /**
             * @description Only jobs in this state
             * @default null
             * @enum {unknown}
             */
            status: "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired" | null;
            /**
             * @description Only jobs with this error code
             * @default null
             */
            errorCode: string | null;
            /**
             * @description Only jobs of this priority
             * @default null
             * @enum {unknown}
             */
            priority: "high" | "normal" | "low" | null;
            /**
             * Format: date-time
             * @description Created at this time or later
             * @default null
             */
            from: string | null;
            /**
             * Format: date-time
             * @description Created before this time
             * @default null
             */
            to: string | null;
            /**
             * @description A job ID, or how it begins
             * @default null
             */
            q: string | null;
        };
        JobActions: {
            /** @enum {unknown} */
            action: "cancel" | "retry" | "requeue" | "prioritize";
            jobIds?: string[];
            /** @description An empty filter finds all jobs */
            filter?: components["schemas"]["JobFilter"];
            /**
             * @description Required by `prioritize`: the new priority
             * @default null
             * @enum {unknown}
             */
            priority: "high" | "normal" | "low" | null;
            /**
             * @description Only count the jobs that would be changed
             * @default false
             */
            dryRun: boolean;
        };
        RejectedJob: {
            /** Format: uuid */
            jobId: string;
            errorCode: string;
            error: string;
        };
        JobActionsResult: {
            /** @enum {string} */
            action: "cancel" | "retry" | "requeue" | "prioritize";
            dryRun: boolean;
            /**
             * Format: date-time
             * @description Use it as `to` of the filter to change no job that was created since
             */
            asOf: string;
            /** @description Jobs that the action applies to */
            matched: number;
            /** @description True if more jobs match than were counted */
            more: boolean;
            changed: number;
            /** @description Jobs that were counted and not tried yet; of `jobIds`, the last ones */
            remaining: number;
            /** @description Jobs that could not be changed */
            rejected: components["schemas"]["RejectedJob"][];
        };
        AuditEntry: {
            /** Format: date-time */
            at: string;
            action: string;
            /** @description The subject of the operator's token; null if they used ADMIN_TOKEN */
            operator: string | null;
            /** @description Jobs that the action was for */
            matched: number;
            /** @description Jobs that it changed */
            changed: number;
            /** @description The first of the changed jobs */
            jobIds: string[];
            /** @description The new priority, and the filter that chose the jobs */
            parameters: {
                [key: string]: unknown;
            };
            requestId: string;
        };
        AuditLog: {
            entries: components["schemas"]["AuditEntry"][];
            /** @description Null on the last page */
            nextCursor: string | null;
        };
        Sample: {
            /** Format: date-time */
            at: string;
            waiting: number;
            processing: number;
            retrying: number;
            workers: number;
            paused: boolean;
            /** @description Attempts that were started since the job store was created */
            started: number;
            /** @description Since the job store was created; a job that is retried counts each time it ends */
            completed: number;
            /** @description Since the job store was created; a job that is retried counts each time it ends */
            failed: number;
            /** @description Since the job store was created; a job that is retried counts each time it ends */
            cancelled: number;
            /** @description Milliseconds from creation to completion of the latest completed jobs */
            p50: number | null;
            p95: number | null;
            p99: number | null;
        };
        Samples: {
            samples: components["schemas"]["Sample"][];
        };
        FailedAttempt: {
            /** @description Starts at 1 again when a dead letter is requeued */
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
            /** @description The owner of the job */
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
        Erased: {
            userId: string;
            /** @description False: send the request again to continue */
            complete: boolean;
            /** @description In the job store */
            jobs: number;
            /** @description Jobs that were not finished */
            cancelled: number;
            links: number;
            /** @description A worker deletes them, unless jobs of other users need them */
            archives: number;
            /** @description Recorded jobs and days of usage */
            history: number;
        };
        Health: {
            /** @enum {string} */
            status: "healthy" | "unhealthy";
            checks: {
                [key: string]: "ok" | "unavailable" | "timeout" | "off";
            };
            /** @description Capabilities of the object storage; present once a worker tested them */
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
            /** @description Incremented by every change; the cursor of every transport */
            version: number;
            /** @description Percent; never decreases within an attempt */
            progress: number;
            totalFiles: number | null;
            processedFiles: number | null;
            totalBytes: number | null;
            processedBytes: number | null;
            /** @description Requested files that the archive lacks (onMissing: skip) */
            missingFiles: number;
            /** @description Estimated rank among waiting jobs of the same or a higher priority; 1 is next. Null if unknown, as while a retry waits */
            queuePosition: number | null;
            /** @description Until the job is finished; as of updatedAt, or of the response while it is queued */
            estimatedSecondsRemaining: number | null;
            /** Format: date-time */
            estimatedCompletion: string | null;
            /**
             * Format: uri
             * @description Signed for this response. Anyone who has the URL can download the archive.
             */
            downloadUrl: string | null;
            /**
             * Format: date-time
             * @description When downloadUrl stops working
             */
            expiresAt: string | null;
            /**
             * Format: date-time
             * @description When the archive expires and can no longer be downloaded
             */
            availableUntil: string | null;
            fileName: string | null;
            /** @description Bytes */
            fileSize: number | null;
            contentType: string | null;
            /** @description crc32: followed by 8 hexadecimal digits */
            checksum: string | null;
            /** @description Why the latest attempt failed */
            error: string | null;
            errorCode: string | null;
            retryable: boolean | null;
            /** @description maxAttempts - attempt; 0 if the error is not retryable */
            retriesRemaining: number | null;
            /** @description The number of the current or latest attempt; 0 before the first */
            attempt: number;
            /** @description The first attempt and all retries */
            maxAttempts: number;
            /**
             * Format: date-time
             * @description When the next attempt is due
             */
            retryAt: string | null;
            /** @enum {string} */
            priority: "high" | "normal" | "low";
            /** @description As sent in the request */
            metadata: {
                [key: string]: unknown;
            };
            /** @description How often resultUrl or a link was used */
            downloads: number;
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
             * @description When the event was sent
             */
            timestamp: string;
            /** @description For people; only in `connected` */
            message?: string;
        };
    };
    responses: {
        /** @description FORBIDDEN: the job or the user_id is another user's, or the call is for operators only; FILE_FORBIDDEN: you may not have the files; or PRIORITY_NOT_ALLOWED: by your plan */
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
        /** @description IDEMPOTENCY_KEY_REUSED: the key was already used for a different request */
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
                /** @description Requests allowed per minute */
                "RateLimit-Limit"?: number;
                /** @description Requests remaining in this minute */
                "RateLimit-Remaining"?: number;
                /** @description Seconds until the limit resets */
                "RateLimit-Reset"?: number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description UNSUPPORTED_MEDIA_TYPE: the body must be application/json */
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
        /** @description JOB_NOT_FOUND, JOB_NOT_READY, LINK_NOT_FOUND, DELIVERY_NOT_FOUND, HISTORY_OFF, or WEBHOOK_SECRET_OFF */
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
        /** @description JOB_CONFLICT or JOB_FAILED: the state of the job does not allow this; or TOO_MANY_LINKS */
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
        /** @description PRECONDITION_FAILED: the ETag in If-Match is not the current one */
        Problem412: {
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
        /** @description JOB_CANCELLED, JOB_EXPIRED, or ARCHIVE_DELETED: there is no archive; or LINK_GONE: the link has ended */
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
        /** @description DELIVERY_UNAVAILABLE: archives cannot be downloaded from this server */
        Problem501: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                /** @description Requests allowed per minute */
                "RateLimit-Limit"?: number;
                /** @description Requests remaining in this minute */
                "RateLimit-Remaining"?: number;
                /** @description Seconds until the limit resets */
                "RateLimit-Reset"?: number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description RATE_LIMIT_EXCEEDED, TOO_MANY_ACTIVE_JOBS, QUOTA_EXCEEDED, TOO_MANY_STREAMS, or TOO_MANY_WAITING_REQUESTS */
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
        /** @description VALIDATION_ERROR, MALFORMED_JSON, or MALFORMED_REQUEST: the request is not valid HTTP */
        Problem400: {
            headers: {
                "X-Request-ID": components["headers"]["X-Request-ID"];
                /** @description Requests allowed per minute */
                "RateLimit-Limit"?: number;
                /** @description Requests remaining in this minute */
                "RateLimit-Remaining"?: number;
                /** @description Seconds until the limit resets */
                "RateLimit-Reset"?: number;
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
                /** @description Requests allowed per minute */
                "RateLimit-Limit"?: number;
                /** @description Requests remaining in this minute */
                "RateLimit-Remaining"?: number;
                /** @description Seconds until the limit resets */
                "RateLimit-Reset"?: number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: {
        /** @description Repeating a request with the same key within 24 hours returns the first job */
        "Idempotency-Key": string;
        /** @description wait=N (RFC 7240): respond when the job is finished, or after N seconds (at most 60) */
        Prefer: string;
        /** @description The version of the last event received */
        "Last-Event-ID": string;
        /** @description The ETag that the client has */
        "If-None-Match": string;
        /** @description Your user ID, for limits and lists */
        "X-User-Id": string;
    };
    requestBodies: never;
    headers: {
        /** @description From the request if it is valid, otherwise a UUID */
        "X-Request-ID": string;
        /** @description RFC 6750 */
        "WWW-Authenticate": string;
        /** @description Requests allowed per minute */
        "RateLimit-Limit": number;
        /** @description Requests remaining in this minute */
        "RateLimit-Remaining": number;
        /** @description Seconds until the limit resets */
        "RateLimit-Reset": number;
        /** @description Seconds to wait */
        "Retry-After": number;
        /** @description Where to continue */
        Location: string;
        /** @description The wait that was applied */
        "Preference-Applied": string;
        /** @description Present if the key was used before */
        "Idempotent-Replayed": "true";
        /** @description Since when this call is deprecated (RFC 9745) */
        Deprecation: string;
        /** @description When this call may be removed (RFC 8594) */
        Sunset: string;
        /** @description Where to learn more about the deprecation */
        Link: string;
        "Cache-Control": string;
        /** @description Changes with the version of the job, and before its downloadUrl expires */
        ETag: string;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
