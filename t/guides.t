#!/usr/bin/env perl

# docs/tutorial.md, docs/from-polling.md and docs/recipes.md: if this fails,
# somebody who follows one of them does not get what it says.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw( make_path );
use File::Temp qw( tempdir );

use Fanout::HTTP;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Rest;
use Fanout::Tabs;


my $root    = "$FindBin::Bin/..";
my $modules = $ENV{TEST_WS_MODULES} || "$root/build/ws/node_modules";
my $dir     = tempdir('fanout-XXXXXX', TMPDIR => 1, CLEANUP => 1);

chmod 0755, $dir;


sub text { Fanout::Nginx::slurp("$root/docs/$_[0].md") }

sub block {
    my ($text, $info) = @_;

    return $text =~ /^```\Q$info\E\n(.*?)^```/ms ? $1 : die "no $info\n";
}

sub save {
    my ($name, $text) = @_;

    open my $f, '>', "$dir/$name" or die "$name: $!";
    print $f $text;
    close $f or die "$name: $!";
}


# examples in Node: each prints what stands below it

sub examples {
    my ($text, $nginx, $api) = @_;
    my $n = 0;

    while ($text =~ /^```js run\n(.*?)^```\n+```text\n(.*?)^```/gms) {
        my ($code, $want) = ($1, $2);
        my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);
        my $base = 'http://127.0.0.1:' . $nginx->port;

        save('example.mjs', <<"END" . $code);
import { createRequire } from "node:module";
import { Fanout } from "$root/src/client/fanout.js";

globalThis.WebSocket
    ??= createRequire("$modules/x")("ws").WebSocket;

const url = "$base/realtime";
const api = "$base$api";
setTimeout(() => process.exit(9), 60000).unref();
END

        is(scalar `node $dir/example.mjs 2>&1`, $want, "line $line");
        $n++;
    }

    return $n;
}


sub start {
    my ($text, %o) = @_;
    my $conf = block($text, 'nginx http');

    $conf =~ s/127\.0\.0\.1:3000/127.0.0.1:$o{backend}/ if $o{backend};

    return Fanout::Nginx->start(
        workers => 1,
        conf => runnable("load_module x;\nevents { }\nhttp {\n$conf}\n"));
}


subtest 'recipes.md' => sub {
    my $text = text('recipes');

    is(examples($text, start($text), '/fanout'), 6, 'examples');
};


subtest 'from-polling.md' => sub {
    my $text = text('from-polling');
    my $rest = Fanout::Rest->start({
        tasks => [ { id => 1, title => 'Milk' } ],
    });

    is(examples($text, start($text, backend => $rest->port), '/api'), 2,
       'examples');
};


subtest 'tutorial.md' => sub {
    my $text = text('tutorial');
    my $port = free_port();
    my $keys = block($text, 'sh tutorial');

    make_path("$dir/room");
    save('app.mjs', block($text, 'js app.mjs'));
    save('room/index.html', block($text, 'html index.html'));
    system("cd $dir && { $keys } > keys.log 2>&1") == 0 or die 'keys';

    my $app = fork // die "fork: $!";

    if (!$app) {
        Fanout::Nginx::die_with_parent();
        chdir $dir;
        $ENV{PORT} = $port;
        exec 'node', 'app.mjs';
        die "node: $!";
    }

    my $conf = block($text, 'nginx complete');

    for (
        [ '/srv/room;'                       => "$dir/room;" ],
        [ '/usr/share/nginx-fanout/client/;' => "$root/src/client/;" ],
        [ '/etc/nginx/public.pem'            => "$dir/public.pem" ],
        [ '127.0.0.1:3000'                   => "127.0.0.1:$port" ],
    ) {
        $conf =~ s/\Q$_->[0]\E/$_->[1]/ or die "no $_->[0]";
    }

    my $nginx = Fanout::Nginx->start(conf => runnable($conf), workers => 1);
    my $tabs  = Fanout::Tabs->start;

    ok(wait_for(sub {
        eval { Fanout::HTTP->new(port => $port)->get('/')->{status} == 401 }
    }), 'the application is there');
    is($nginx->http->get('/realtime?channel=room:lobby')->{status}, 401,
       'without a token nobody gets in');

    for my $tab (qw( Ann Bob )) {
        $tabs->open($tab, $nginx->uri('/'));
        $tabs->fill($tab, '#name', $tab);
        $tabs->press($tab, '#name', 'Enter');
        ok($tabs->wait($tab, '#state', 'connected'), "$tab is in");
    }

    ok($tabs->wait($_, '#people', 'Ann, Bob'), "$_ sees both")
        for qw( Ann Bob );

    my $say = sub {
        my ($tab, $what) = @_;

        $tabs->fill($tab, '#text', $what);
        $tabs->press($tab, '#text', 'Enter');
        ok($tabs->wait($_, '#log li', "$tab: $what"), "$_ hears $tab")
            for qw( Ann Bob );
    };

    $say->('Ann', 'hello');
    $nginx->reload;
    $say->('Bob', 'after a reload');
    $nginx->kill_worker($_) for $nginx->worker_pids;
    $say->('Ann', 'after all workers died');

    is_deeply($tabs->texts('Bob', '#log li'),
              [ 'Ann: hello', 'Bob: after a reload',
                'Ann: after all workers died' ], 'each once, in order');
    is_deeply([ grep { !/WebSocket connection|net::ERR_/ }
                @{ $tabs->errors('Bob') } ], [], 'nothing in the console');

    $tabs->close('Ann');
    ok(wait_for(sub { $tabs->texts('Bob', '#people')->[0] eq 'Bob' }),
       'who closes the page is gone');
    $tabs->close('Bob');

    kill 'TERM', $app;
    waitpid $app, 0;
};
