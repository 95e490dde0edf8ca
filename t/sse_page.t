#!/usr/bin/env perl

# EventSource of a real Chromium: if this fails, a page that follows the
# documentation misses what was said while its connection was cut, its worker
# crashed or NGINX was reloaded, or can't use the events of another origin that
# was let in.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Tabs;


my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;
my ($minor) = $version =~ m{nginx/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

my $nginx = Fanout::Nginx->start(
    tls    => 1,
    servers => <<"END",
        server {
            listen 127.0.0.1:%%PORT2%% ssl $listen;
            $on
            ssl_certificate     %%DIR%%/cert.pem;
            ssl_certificate_key %%DIR%%/key.pem;
            fanout_permit all *;
            location /rt { fanout app; }
            location = / {
                default_type text/html;
                return 200 "<!doctype html>";
            }
        }
END
    http   => 'fanout_zone app 32m;
               fanout_channel app * history=10000 ttl=1h;',
    server => <<'END',
        fanout_permit all *;
        fanout_drain 300ms;
        fanout_retry 200ms;
        location /rt { fanout app; }
        location /open { fanout app;
                         fanout_origin http://localhost:%%PORT%%; }
        location /closed {
            if (-f %%DIR%%/closed) { return 503; }
            rewrite ^ /rt last;
        }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
        location = / { default_type text/html; return 200 "
            <!doctype html><title>events</title><p id=state>-</p>
            <script>
            const seen = [], offsets = {};
            let opened = 0, wrong = 0;
            const state = () => document.getElementById('state').textContent =
                opened + ' opened, ' + seen.length + ' seen, ' + wrong;
            const events = new EventSource('/rt?channel=a&channel=b%20c');
            events.onopen = () => { opened++; state(); };
            events.onmessage = e => {
                const o = JSON.parse(e.data);
                if (o.ok) {
                    if (o.ok.recovered === false) wrong++;
                    if (!(o.ok.channel in offsets))
                        offsets[o.ok.channel] = o.ok.offset;
                }
                if (o.data) {
                    if (o.offset != ++offsets[o.channel]) wrong++;
                    seen.push(o.data);
                }
                state();
            };
            </script>"; }
END
);

my $http = $nginx->http;
my $tabs = Fanout::Tabs->start;
my $said = 0;


sub say_some {
    my ($n) = @_;

    for (1 .. $n) {
        my $channel = ++$said % 2 ? 'a' : 'b%20c';
        my $r = $nginx->http->post("/fanout/channels/$channel/messages",
                                   $said);
        die "publish: $r->{status}" if $r->{status} !~ /^2/;
    }
}


sub all_seen {
    my ($name) = @_;

    ok($tabs->wait('page', '#state', "$said seen, 0"), $name)
        or diag($tabs->texts('page', '#state')->[0]);

    is_deeply([ sort { $a <=> $b } @{ $tabs->evaluate('page', 'seen') } ],
              [ 1 .. $said ], 'all of it, once');
}


$tabs->open('page', $nginx->uri('/'));
ok($tabs->wait('page', '#state', '1 opened'), 'a page opens a stream');

say_some(10);
all_seen('sees what is said');

for my $round (1 .. 3) {
    say_some(5);
    $nginx->kill_worker($_) for $nginx->worker_pids;
    say_some(5);
    all_seen("comes back by itself after a crash, round $round");
}

$nginx->reload;
say_some(10);
all_seen('and after a reload');

ok(wait_for(sub { $tabs->evaluate('page', 'opened') >= 5 }),
   'each time it was cut');

# the other side of the same page

is($tabs->evaluate('page', <<'END'), 200, 'a page says something by POST');
    fetch('/rt', { method: 'POST',
                   headers: { 'Content-Type': 'application/json' },
                   body: JSON.stringify({ id: 1, op: 'publish', channel: 'a',
                                          data: 999 }) })
        .then(r => r.status)
END

ok($tabs->wait('page', '#state', ($said + 1) . ' seen, 0'), 'and hears it');

# from another origin: the page is of localhost, the stream of 127.0.0.1

$tabs->open('other', 'http://localhost:' . $nginx->port('PORT') . '/');

my $stream = sub {
    my ($path) = @_;

    return $tabs->evaluate('other', sprintf <<'END', $nginx->port('PORT'),
        new Promise(done => {
            const e = new EventSource(
                'http://127.0.0.1:%s%s?channel=a', { withCredentials: true });
            e.onmessage = () => { e.close(); done('message'); };
            e.onerror = () => { e.close(); done('error'); };
        })
END
        $path);
};

is($stream->('/open'), 'message', 'an origin that is let in reads the events');
is($stream->('/rt'), 'error', 'another does not');

is($tabs->evaluate('other', sprintf <<'END', $nginx->port('PORT')), 200,
    fetch('http://127.0.0.1:%s/open', {
              method: 'POST', credentials: 'include',
              headers: { 'Content-Type': 'application/json' },
              body: JSON.stringify({ id: 1, op: 'ping' }) })
        .then(r => r.status, e => String(e))
END
   'and may send commands');

is($tabs->evaluate('other', sprintf <<'END', $nginx->port('PORT')), 'no',
    fetch('http://127.0.0.1:%s/rt', {
              method: 'POST', credentials: 'include',
              headers: { 'Content-Type': 'application/json' },
              body: JSON.stringify({ id: 1, op: 'ping' }) })
        .then(r => r.status, e => 'no')
END
   'another may not');


# A status other than 200 is final to EventSource: what the documentation says
# to do about it

open my $doc, '<', "$FindBin::Bin/../docs/protocol.md" or die $!;
my ($pattern) = do { local $/; readline $doc }
                =~ /^(let events, last = .*?)^```/ms or die 'no pattern';

$pattern =~ s{/realtime\?channel=room:a}{/closed?channel=a} or die 'no URL';

my $closed = $nginx->dir . '/closed';
my $shut = sub { open my $f, '>', $closed or die $! };

$shut->();
$tabs->open('patient', $nginx->uri('/'));
$tabs->evaluate('patient', "(() => {
    window.told = [];
    const handle = o => { if (o.data) told.push(o.data); };
    $pattern
    open();
    window.shown = () => events.readyState;
})()");

ok(wait_for(sub { $tabs->evaluate('patient', 'shown()') == 2 }, 20),
   'a stream that is refused is closed for good');
unlink $closed or die $!;
ok(wait_for(sub { $tabs->evaluate('patient', 'shown()') == 1 }, 40),
   'but a page that follows the documentation comes back');

$said = 'said to the patient';
$http->post('/fanout/channels/a/messages', qq("$said"));
ok(wait_for(sub { $tabs->evaluate('patient', 'told.join()') eq $said }, 20),
   'and is told');

# from where it was

$shut->();
$nginx->kill_worker($_) for $nginx->worker_pids;
ok(wait_for(sub { $tabs->evaluate('patient', 'shown()') == 2 }, 40),
   'cut, and refused');
$nginx->http->post('/fanout/channels/a/messages', '"meanwhile"');
unlink $closed or die $!;
ok(wait_for(sub {
    $tabs->evaluate('patient', 'told.join()') eq "$said,meanwhile"
}, 60), 'it misses nothing');


# Over HTTP/1.1 a browser has six connections for all of its tabs, so the
# seventh stream waits, and so does a POST: one stream with all channels is what
# the documentation says, or HTTP/2.

my $streams = <<'END';
    (async urls => {
        await Promise.all(urls.map(url => new Promise(done => {
            new EventSource(url).onmessage = done;
        })));
        const r = await fetch('/rt', {
            method: 'POST', headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({ id: 1, op: 'ping' }) });
        return r.status;
    })
END

$tabs->open('one', $nginx->uri('/'));
is($tabs->evaluate('one', $streams . "(['/rt?' + [...'abcdefghij']
        .map(c => 'channel=' + c).join('&')])"), 200,
   'one stream of ten channels leaves room for a POST');

SKIP: {
    skip 'NGINX without HTTP/2', 1 if $version !~ /http_v2_module/;

    $tabs->open('many', 'https://127.0.0.1:' . $nginx->port('PORT2') . '/');
    is($tabs->evaluate('many', $streams . "([...'abcdefghij']
            .map(c => '/rt?channel=' + c))"), 200,
       'over HTTP/2 ten streams do');
}
