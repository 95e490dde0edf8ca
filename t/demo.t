#!/usr/bin/perl

# "make demo": a page with all there is, and a REST server as npm has it behind
# NGINX, in a real Chromium. If this fails, who tries it sees nothing live, two
# tabs differ from each other or from the server, what was written while a tab
# was cut off is not there when it is back, or the code beside a pane is not
# what runs.

use strict;
use warnings;
use utf8;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use IPC::Open3;
use POSIX qw( WNOHANG );

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Rest;
use Fanout::Tabs;

my $root = abs_path(dirname(__FILE__) . '/..');


sub slurp {
    my ($path) = @_;

    open my $f, '<', $path or die "$path: $!";
    local $/;

    return readline $f;
}


my $rest = Fanout::Rest->start(
    Fanout::JSON::decode(slurp("$root/conf/demo.json")));
my $conf = slurp("$root/conf/demo.conf");

$conf =~ s|http://127\.0\.0\.1:3000|'http://127.0.0.1:' . $rest->port|e
    or die 'no backend in demo.conf';

my $nginx = Fanout::Nginx->start(conf => runnable($conf));
my $http  = $nginx->http;
my $tabs  = Fanout::Tabs->start;

my $type  = { 'Content-Type' => 'application/json' };
my $mine  = '#log .own .said';
my $title = '#tasks li label span';


sub value { $tabs->evaluate(@_) }

sub choose { value($_[0], "document.querySelector('[value=$_[1]]').click()") }

sub say_in {
    my ($tab, $text) = @_;

    $tabs->fill($tab, '#text', $text);
    $tabs->press($tab, '#text', 'Enter');
}

sub write_in {
    my ($tab, $cell, $text) = @_;

    $tabs->fill($tab, qq([id="$cell"]), $text);
    $tabs->press($tab, qq([id="$cell"]), 'Enter');
}

sub cell { value($_[0], "document.getElementById('$_[1]').value") }

sub shows {
    my ($tab, $cell, $text, $name) = @_;

    ok(wait_for(sub { cell($tab, $cell) eq $text }), $name)
        or diag(cell($tab, $cell));
}


for my $tab (qw( ann bob )) {
    $tabs->open($tab, $nginx->uri('/'), $tab eq 'bob'
                ? (width => 360, height => 740, scheme => 'dark') : ());
    ok($tabs->wait($tab, '#state', 'connected'), "$tab is there");
}

my %name = map { $_ => $tabs->texts($_, '#me')->[0] } qw( ann bob );


subtest 'who is here' => sub {
    for my $tab (qw( ann bob )) {
        ok($tabs->wait($tab, '#people', $name{$_}), "$tab sees $_")
            for qw( ann bob );
    }

    is(value('ann', 'document.getElementById("alone").hidden'), 1,
       'and nobody is alone');
};


subtest 'chat' => sub {
    $tabs->fill('bob', '#text', 'h');
    ok($tabs->wait('ann', '#typing', "$name{bob} is typing"), 'typing');

    say_in('bob', '<b>hello</b>');
    ok($tabs->wait('ann', '#log .said', '<b>hello</b>'), 'text is text');
    ok($tabs->wait('bob', '#log .own.all .tick', "\x{2713}\x{2713}"),
       'bob sees that everybody has it');

    choose('bob', 'down');
    ok(wait_for(sub { $tabs->texts('bob', '#state')->[0] ne 'connected' }),
       'bob is offline, and told');
    say_in('bob', "offline $_") for 1 .. 3;
    is($tabs->texts('bob', '#queue')->[0], 3, 'three messages wait');
    is_deeply([ value('bob', "document.querySelectorAll('#log "
                             . "[data-state=queued]').length") ], [ 3 ],
              'and are shown so');
    say_in('ann', 'meanwhile');

    choose('bob', 'up');
    ok($tabs->wait('ann', '#log .said', 'offline 3'), 'they are sent');
    ok(wait_for(sub { $tabs->texts('bob', '#queue')->[0] eq '0' }),
       'none waits');
    is_deeply([ grep { /offline/ } @{ $tabs->texts($_, '#log .said') } ],
              [ map { "offline $_" } 1 .. 3 ], "$_: once, in order")
        for qw( ann bob );
    ok($tabs->wait('bob', '#log .said', 'meanwhile'), 'bob has missed nothing');
};


subtest 'a table' => sub {
    shows('bob', 'r1.item', 'Pick a date', 'there is something to do');

    $tabs->click('ann', '[id="r1.owner"]');
    ok($tabs->wait('bob', '#r1 .holder', $name{ann}), 'who edits is shown');
    ok(value('bob', "document.getElementById('r1.owner').readOnly"),
       'and alone in the cell');
    write_in('ann', 'r1.owner', 'Ann');
    shows('bob', 'r1.owner', 'Ann', 'what is written is seen');
    ok($tabs->wait('ann', '#r1 .mark', 'saved'), 'and saved');
    ok(wait_for(sub { !grep { length } @{ $tabs->texts('bob', '.holder') } }),
       'the cell is free');

    value('bob', "{ const e = document.querySelector('#sheet'),
        b = e.getBoundingClientRect(); e.dispatchEvent(new PointerEvent(
        'pointermove', { clientX: b.left + 9, clientY: b.top + 9 })); 0 }");
    ok($tabs->wait('ann', '.pointer', $name{bob}), 'pointers are seen');

    choose('ann', 'down');
    wait_for(sub { $tabs->texts('ann', '#state')->[0] ne 'connected' });
    write_in('ann', 'r2.state', 'mine');
    ok($tabs->wait('ann', '#r2 .mark', 'saving'), 'offline, it waits');
    write_in('bob', 'r2.state', 'theirs');
    ok($tabs->wait('bob', '#r2 .mark', 'saved'), 'bob writes the same cell');
    choose('ann', 'up');

    ok($tabs->wait('ann', '#conflicts li', "$name{bob} wrote"),
       'the conflict is told');
    shows('ann', 'r2.state', 'theirs', 'nothing is overwritten');
    $tabs->click('ann', '#conflicts button:last-child');
    shows('bob', 'r2.state', 'mine', 'until one decides');
};


# the server's own list, as the page has to show it

sub there {
    return [ map { $_->{title} } @{ $http->get('/api/tasks')->json } ];
}


sub same {
    my ($what) = @_;

    for my $tab (qw( ann bob )) {
        ok(wait_for(sub {
            Fanout::JSON::encode($tabs->texts($tab, $title))
                eq Fanout::JSON::encode(there());
        }), "$what: $tab has what the server has")
            or diag(Fanout::JSON::encode([ $tabs->texts($tab, $title),
                                           there() ]));
    }
}


subtest 'a REST API' => sub {
    same('at first');

    $tabs->fill('ann', '#title', 'bread <b>and</b> butter');
    $tabs->press('ann', '#title', 'Enter');

    ok($tabs->wait($_, $title, 'bread <b>and</b> butter'),
       "$_ sees what ann adds, letter by letter") for qw( ann bob );
    ok($tabs->wait('ann', '#write', 'POST /api/tasks → 201, by you'),
       'ann sees that it is hers');
    ok($tabs->wait('bob', '#write', "by $name{ann}"), 'bob sees whose it is');

    $tabs->click('bob', '#tasks li:nth-child(2) input');
    ok($tabs->wait('ann', '#tasks li.done span', 'Tick a task'),
       'ann sees what bob ticks');

    $tabs->click('ann', '#tasks li:nth-child(1) button');
    ok($tabs->wait('bob', '#write', 'DELETE /api/tasks/1'),
       'bob sees what ann removes');
    same('after all that');

    my $curl   = $tabs->texts('ann', '#curl')->[0];
    my $answer = Fanout::JSON::decode(scalar `$curl -sS`);

    is($answer->{title}, 'written by curl', 'the command runs');
    ok($tabs->wait('bob', $title, 'written by curl'), 'and is seen');

    $nginx->reload;
    $nginx->http->put('/api/tasks/2', '{"title":"while reloading"}',
                      headers => $type);

    ok($tabs->wait($_, $title, 'while reloading'), "$_ misses nothing")
        for qw( ann bob );

    for my $pid ($nginx->worker_pids) {
        $nginx->kill_worker($pid);
        $nginx->http->post('/api/tasks', qq({"title":"after $pid"}),
                           headers => $type);
    }

    same('after both workers died');
};


subtest 'networks' => sub {
    choose('ann', 'blocked');
    ok($tabs->wait('ann', '#transport', 'event stream'),
       'without WebSockets, it is an event stream');
    say_in('ann', 'by a stream');
    ok($tabs->wait('bob', '#log .said', 'by a stream'), 'which works');

    choose('ann', 'up');
    ok(wait_for(sub { value('ann', 'import("/demo.js")
                                    .then((m) => m.hub.connected)') }),
       'back again');
    ok($tabs->wait('bob', '#workers', ($nginx->worker_pids)[0]),
       'the status shows the workers of now');
};


subtest 'how it looks' => sub {
    for my $width (360, 768, 1440) {
        for my $tab (qw( ann bob )) {
            $tabs->resize($tab, $width, 900);
            is(value($tab, 'Math.max(document.body.scrollWidth,
                            document.documentElement.scrollWidth)'),
               $width, "$width pixels are enough");

            $tabs->screenshot($tab,
                "$ENV{TEST_SCREENSHOTS}/demo-$tab-$width.png", 1)
                if $ENV{TEST_SCREENSHOTS};
        }
    }

    is_deeply($tabs->axe($_), [], "$_ can be used by all") for qw( ann bob );
};


# what is read beside the panes is what runs

subtest 'code' => sub {
    my $source = $http->get('/demo.js')->{body};
    my %codes  = @{ value('ann', "[...document.querySelectorAll(
        '[data-code]')].flatMap((e) => [e.dataset.code, e.textContent])") };

    is(keys %codes, 6, 'each pane has some');

    for my $pane (sort keys %codes) {
        my $lines = () = $codes{$pane} =~ /\S.*$/mg;

        ok(index($source, "\n$codes{$pane}\n") > 0, "$pane: it is what runs");
        ok($lines >= 3 && $lines <= 15, "$pane: $lines lines");
    }

    my %line = map { s/^\s+|\s+$//gr => 1 } split /\n/, $conf;

    $line{'proxy_pass http://127.0.0.1:3000/;'} = 1;
    is_deeply([ grep { !$line{$_} } map { s/^\s+|\s+$//gr } split /\n/,
                $tabs->texts('ann', '#code-conf')->[0] ], [],
              'what the page says of its configuration is true');

    my $links = value('ann', "[...document.querySelectorAll('nav a')]
        .map((e) => e.getAttribute('href'))");

    is($http->get("/$_")->{status}, 200, "$_ is there") for @$links;
};


# but for what workers took with them

for my $tab (qw( ann bob )) {
    my @errors = grep { !/WebSocket connection|net::ERR_/ }
                 @{ $tabs->errors($tab) };
    is_deeply(\@errors, [], "nothing in the console of $tab");
}


# Chromium keeps connections that it has not used: these hold an old worker

$tabs->close($_) for qw( ann bob );
ok(wait_for(sub { !$nginx->stopping_pids }, 30), 'old workers go');


# the command itself: it says what to open, serves it, and leaves nothing

SKIP: {
    skip 'the module is linked in', 4 if !length Fanout::Nginx::module({});

    local $ENV{PORT} = free_port();
    local $ENV{NGINX_BINARY} = Fanout::Nginx::binary();

    my $pid = open3(my $in, my $out, undef, "$root/t/tools/run", 'demo');
    my $said = '';

    while (my $line = readline $out) {
        $said .= $line;
        last if $line =~ /stop\s+Ctrl-C/;
    }

    like($said, qr{open\s+http://127\.0\.0\.1:$ENV{PORT}/}, 'what to open');

    my ($server) = $said =~ m{server\s+http://127\.0\.0\.1:(\d+)};
    my $demo = Fanout::HTTP->new(port => $ENV{PORT});

    like($demo->get('/')->{body}, qr/<title>nginx-fanout: the demo/,
         'the page is there');
    is($demo->post('/api/tasks', '{"title":"x"}',
                   headers => $type)->{status}, 201, 'the server takes it');

    kill 'TERM', $pid;
    waitpid $pid, 0;

    ok(wait_for(sub {
        !grep { eval { Fanout::HTTP->new(port => $_)->get('/'); 1 } }
              $ENV{PORT}, $server
    }), 'and all of it is gone');
}
