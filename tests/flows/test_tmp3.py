import collections, time, logging, re
import fsspec
calls = collections.Counter()
def test_count(build, s3_root, crawls):
    import werkzeug.serving
    from s3fs.core import S3FileSystem
    orig = S3FileSystem._call_s3
    spent = collections.Counter()
    async def counted(self, method, *a, **k):
        t=time.perf_counter()
        try:
            return await orig(self, method, *a, **k)
        finally:
            calls[method if isinstance(method,str) else method.__name__]+=1; spent[method if isinstance(method,str) else method.__name__]+=time.perf_counter()-t
    S3FileSystem._call_s3 = counted
    t=time.time(); c=time.process_time(); build(s3_root, ("2024-10",)); print("S3first", time.time()-t, time.process_time()-c, calls, {k: round(v,2) for k,v in spent.items()})
    calls.clear(); spent.clear()
    t=time.time(); c=time.process_time(); b=build(s3_root, ("2024-10",)); print("S3second", time.time()-t, time.process_time()-c, calls, {k: round(v,2) for k,v in spent.items()}, len(b.snapshot.things))
